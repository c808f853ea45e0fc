"""The last layer of a classifier that looks at the first token only, without the work that is thrown away.

BERT's classes predict from the vector of the first token alone. In the last layer the feed-forward network then needs
to run on that token only (`hfrep.models.last_layer`).
"""

import torch
from torch import Tensor, nn

from hfrep.models.last_layer import feed_forward_entry
from hfrep.models.probing import evaluating, short_texts

PROBE_ROWS, PROBE_LENGTH = 2, 6
TOLERANCE = 1e-5


def use_first_token_only(model: nn.Module) -> bool:
    """Have the live `model` do no more, a stock sequence-classification class or peft's wrapper of one; whether it can.

    Its logits stay what they are, which is tried on a short text; its hidden states of the last layer become those of
    the first token. Where the class looks at other tokens too, or is built otherwise, nothing changes.
    """
    found = feed_forward_entry(model)
    if found is None:
        return False
    _, entry = found
    if _first in entry._forward_hooks.values():  # several tasks share a body
        return True
    words = short_texts(model, PROBE_ROWS, PROBE_LENGTH)
    inputs = {"input_ids": words, "attention_mask": torch.ones_like(words)}
    with evaluating(model):
        expected = model(**inputs).logits
        hook = entry.register_forward_hook(_first)
        try:
            same = torch.allclose(model(**inputs).logits, expected, rtol=TOLERANCE, atol=TOLERANCE)
        except (RuntimeError, IndexError):  # other tokens were asked for
            same = False
    if not same:
        hook.remove()
    return same


def _first(module: nn.Module, inputs: tuple[object, ...], output: Tensor | tuple[Tensor, ...]) -> object:
    if isinstance(output, tuple):
        return (output[0][:, :1], *output[1:])
    return output[:, :1]
