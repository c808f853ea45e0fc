"""The head of a stock class at chosen positions only.

The stock classes project every position to the vocabulary, where training and scoring want few of them. A hook on the
backbone hands the class only the hidden states at chosen positions, as one row [1, n, H]; the class's own head then
runs on those, whatever it is made of.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput


class SparseHead:
    """What gives a stock `model`'s scores at chosen positions. Called by itself, the model gives them at all, as ever.

    The hook stays on the model until `close`; ``with contextlib.closing(SparseHead(model)) as head`` takes it off.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._positions: Tensor | None = None
        self._hook = model.base_model.register_forward_hook(self._gather)

    def logits(self, positions: Tensor, **inputs: Any) -> Tensor:
        """Scores over the vocabulary [n, V], in the dtype the class computes in.

        Args:
            positions: int64 [n], indices into the flattened b · L positions.
            inputs: keyword arguments of the class: ``input_ids`` int64 [b, L] and what goes with them.
        """
        logits: Tensor = self.call(self._model, positions, **inputs).logits
        return logits[0]

    def call(self, forward: Callable[..., Any], positions: Tensor | None, **inputs: Any) -> Any:
        """What `forward`, which calls the model, makes of `inputs` with the head at `positions` only, or at all."""
        self._positions = positions
        try:
            return forward(**inputs)
        finally:
            self._positions = None

    def close(self) -> None:
        self._hook.remove()

    def _gather(self, backbone: nn.Module, inputs: tuple[object, ...], outputs: ModelOutput) -> ModelOutput:
        if self._positions is not None:
            hidden: Tensor = outputs.last_hidden_state
            outputs.last_hidden_state = torch.index_select(hidden.flatten(0, 1), 0, self._positions)[None]
        return outputs
