"""The cross-entropy of a stock language-model class at chosen positions, without work that is thrown away.

The class's head runs where there is a label (`hfrep.models.sparse_head`), since of a masked model most positions have
none. Where its logits are a plain product with its output matrix, they are never held for all of these positions at
once (`hfrep.objectives.linear_loss`); other classes compute them as they do.
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from hfrep.models.linear_head import LinearHead, has_linear_head
from hfrep.models.sparse_head import SparseHead
from hfrep.objectives.base import IGNORED
from hfrep.objectives.linear_loss import linear_cross_entropy


class WordLoss:
    """Sums over positions for `model`, which stays as it is when called by itself."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._linear = LinearHead(model) if has_linear_head(model) else None
        self._sparse = SparseHead(model)

    def __call__(
        self, labels: Tensor, positions: Tensor | None, *, count_correct: bool, **inputs: Any
    ) -> tuple[Tensor, Tensor]:
        """Sum of ``-log p(label)`` in nats, and how often the label is the likeliest word (0 if not asked for).

        Args:
            labels: int64 [n], -100 where there is none.
            positions: int64 [n], indices into the flattened b · L positions; None for all of them.
            inputs: keyword arguments of the class: ``input_ids`` int64 [b, L] and what goes with them.

        Returns:
            scalars in float32; where logits are computed in chunks, in float64 for a model in it.
        """
        if self._linear is not None:
            hidden = self._sparse.call(self._linear.hidden, positions, **inputs).flatten(0, 1)
            output = self._linear.output
            return linear_cross_entropy(hidden, output.weight, output.bias, labels, count_correct=count_correct)
        logits = self._sparse.call(self._model, positions, **inputs).logits.flatten(0, 1).float()
        total = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
        correct = (logits.argmax(-1) == labels).sum().float() if count_correct else total.new_zeros(())
        return total, correct
