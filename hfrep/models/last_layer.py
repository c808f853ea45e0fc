"""Where the last layer of a stock encoder can be told to go on with some positions only.

Attention needs all positions; what comes behind it in the last layer, two thirds of the layer's products, is needed
only where something looks at its outcome.
"""

from torch import nn

# Where stock classes keep their layers, and in a layer what comes between attention and feed-forward network: its
# output goes into that network and past it, and nowhere else.
ENTRIES = {"encoder.layer": "attention", "transformer.layer": "sa_layer_norm"}


def feed_forward_entry(model: nn.Module) -> tuple[nn.Module, nn.Module] | None:
    """The last layer, and its module whose output, [b, L, H] or first of a tuple, goes into its feed-forward network.

    None where the class is built otherwise. That a class goes on as expected is for the caller to try out.
    """
    for name, part in model.named_modules():
        for layers, entry in ENTRIES.items():
            if name.endswith(layers) and isinstance(part, nn.ModuleList) and len(part) > 0:
                found = getattr(part[-1], entry, None)
                return (part[-1], found) if isinstance(found, nn.Module) else None
    return None
