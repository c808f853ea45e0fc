"""Where the last layer of a stock encoder can be told to go on with some positions only.

Attention needs all positions; what comes behind it in the last layer, two thirds of the layer's products, is needed
only where something looks at its outcome.
"""

from typing import Any

from torch import nn

# Where a class keeps its layers, and in a layer what comes between attention and feed-forward network: its output goes
# into that network and past it, and nowhere else.
BERT, DISTILBERT = ("encoder.layer", "attention"), ("transformer.layer", "sa_layer_norm")
# By the configuration's model_type; for any other the last layer runs whole. Classes with layers of these names may cut
# rows to the length they had (luke, longformer), learn from all that passes (ibert), or go on everywhere (mobilebert).
ENTRIES = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra", "deberta", "deberta-v2", "mpnet"), BERT),
    "distilbert": DISTILBERT,
}


def feed_forward_entry(model: nn.Module) -> tuple[nn.Module, nn.Module] | None:
    """The last layer, and its module whose output, [b, L, H] or first of a tuple, goes into its feed-forward network.

    None where the class is built otherwise, or takes a fixed number of positions at a time.
    """
    config: Any = model.config
    if config.model_type not in ENTRIES or getattr(config, "chunk_size_feed_forward", 0) > 0:
        return None
    path, entry = ENTRIES[config.model_type]
    for name, part in model.named_modules():
        if f".{name}".endswith(f".{path}") and isinstance(part, nn.ModuleList) and len(part) > 0:
            return part[-1], part[-1].get_submodule(entry)
    return None
