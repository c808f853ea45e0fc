"""The hidden states that a stock class multiplies with its output matrix, in place of the logits.

With them and the matrix a loss can be computed without the logits of all positions ever being held. A hook on the
class's output layer takes its input away and lets it multiply nothing; the class's other parts run as they are.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hfrep.models.probing import evaluating, short_texts

PROBE_LENGTH = 4  # tokens


class LinearHead:
    """What gives the input of a stock `model`'s output layer. Called by itself, the model gives logits, as ever.

    Attributes:
        output: the layer, with ``weight`` [V, H] and ``bias`` [V] or None.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self.output: nn.Linear = model.get_output_embeddings()
        self._taking = False
        self._taken: Tensor | None = None
        self.output.register_forward_pre_hook(self._take)

    def hidden(self, **inputs: Any) -> Tensor:
        """Hidden states [b, L, H] in the dtype the class computes in; `inputs` are keyword arguments of the class."""
        self._taking = True
        try:
            self._model(**inputs)
            taken = self._taken
        finally:
            self._taking, self._taken = False, None
        assert taken is not None
        return taken

    def _take(self, output: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if not self._taking:
            return args
        self._taken = args[0]
        return (args[0][:, :0].detach(),)


def has_linear_head(model: PreTrainedModel) -> bool:
    """Whether the logits of `model` are what its output layer gives and nothing else.

    Some classes scale or cap them afterwards, add a bias of their own (0 now, and trained), or never call the layer.
    Found out on one short text, in eval mode: the logits have to lie where the layer left its output.
    """
    layer = model.get_output_embeddings()
    if not isinstance(layer, nn.Linear):
        return False
    made: list[tuple[int, Tensor]] = []
    hook = layer.register_forward_hook(lambda _, inputs, output: made.append((output.data_ptr(), output.clone())))
    try:
        with evaluating(model):
            logits = model(input_ids=short_texts(model, 1, PROBE_LENGTH)).logits
    finally:
        hook.remove()
    return len(made) == 1 and made[0][0] == logits.data_ptr() and torch.equal(made[0][1], logits)
