"""The last layer of a classifier that looks at the first token only, without the work that is thrown away.

BERT's classes predict from the vector of the first token alone. In the last layer the feed-forward network, two thirds
of the layer's products, then needs to run on that token only.
"""

import torch
from torch import Tensor, nn

# Where stock classes keep their layers, and in a layer what comes between attention and feed-forward network: its
# output goes into that network and past it, and nowhere else.
LAYERS = {"encoder.layer": "attention", "transformer.layer": "sa_layer_norm"}
PROBE_ROWS, PROBE_LENGTH = 2, 6
TOLERANCE = 1e-5


@torch.no_grad()
def use_first_token_only(model: nn.Module) -> bool:
    """Have the live `model` do no more, a stock sequence-classification class or peft's wrapper of one; whether it can.

    Its logits stay what they are, which is tried on a short text; its hidden states of the last layer become those of
    the first token. Where the class looks at other tokens too, or is built otherwise, nothing changes.
    """
    between = _between(model)
    if between is None:
        return False
    device, training = next(model.parameters()).device, model.training
    words = torch.arange(PROBE_ROWS * PROBE_LENGTH, device=device).view(PROBE_ROWS, PROBE_LENGTH)
    inputs = {"input_ids": words % model.config.vocab_size, "attention_mask": torch.ones_like(words)}
    model.eval()
    expected = model(**inputs).logits
    hook = between.register_forward_hook(_first)
    try:
        same = torch.allclose(model(**inputs).logits, expected, rtol=TOLERANCE, atol=TOLERANCE)
    except (RuntimeError, IndexError):  # other tokens were asked for
        same = False
    finally:
        model.train(training)
    if not same:
        hook.remove()
    return same


def _between(model: nn.Module) -> nn.Module | None:
    for name, part in model.named_modules():
        for layers, between in LAYERS.items():
            if name.endswith(layers) and isinstance(part, nn.ModuleList) and len(part) > 0:
                found = getattr(part[-1], between, None)
                return found if isinstance(found, nn.Module) else None
    return None


def _first(module: nn.Module, inputs: tuple[object, ...], output: Tensor | tuple[Tensor, ...]) -> object:
    if isinstance(output, tuple):
        return (output[0][:, :1], *output[1:])
    return output[:, :1]
