"""The hidden states that a stock class multiplies with its output matrix, in place of the logits.

With them and the matrix a loss can be computed without the logits of all positions ever being held. A hook on the
class's output layer takes its input away and lets it multiply nothing; the class's other parts run as they are.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

PROBE_LENGTH = 4  # tokens
TOLERANCE = 1e-4  # of the largest logit


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
        self._hook = self.output.register_forward_pre_hook(self._take)

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

    def close(self) -> None:
        self._hook.remove()

    def _take(self, output: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if not self._taking:
            return args
        self._taken = args[0]
        return (args[0][:, :0].detach(),)


@torch.no_grad()
def has_linear_head(model: PreTrainedModel) -> bool:
    """Whether the logits of `model` are the product with its output matrix and nothing else.

    Some classes scale or cap them afterwards, or have no such layer. Found out on one short text, in eval mode.
    """
    if not isinstance(model.get_output_embeddings(), nn.Linear):
        return False
    training, head = model.training, LinearHead(model)
    words = torch.arange(PROBE_LENGTH, device=model.device)[None] % model.config.vocab_size
    try:
        model.eval()
        logits = model(input_ids=words).logits
        product = nn.functional.linear(head.hidden(input_ids=words), head.output.weight, head.output.bias)
    finally:
        head.close()
        model.train(training)
    return bool((logits - product).abs().max() <= TOLERANCE * logits.abs().max())
