"""Supervised learning on labelled texts: cross-entropy in nats, or the squared error where a number is predicted.

The loss is the sum over examples; its count is their number. The stock class's own loss is a mean, and is not used.
"""

from abc import abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hfrep.data.batches import Batch, Collator
from hfrep.data.order import Addresses
from hfrep.data.rows import Arrays
from hfrep.models.first_token import use_first_token_only
from hfrep.objectives.base import Objective


@dataclass(frozen=True)
class AsTensors:
    """Rows → a batch of the same arrays."""

    def __call__(self, rows: Arrays, addresses: Addresses) -> dict[str, Tensor]:
        return {name: torch.from_numpy(values) for name, values in rows.items()}


class Predictor(Objective):
    """An objective whose batches hold ``targets`` [b], and which predicts them, with one candidate or several.

    Candidates are predictors side by side that share their input and nothing else, such as one for each learning rate;
    the loss is the sum of theirs.

    Attributes:
        regression: targets are float32 values, to be met in the square; otherwise int64 label numbers.
    """

    def __init__(self, *, regression: bool) -> None:
        super().__init__()
        self.regression = regression

    @abstractmethod
    def logits(self, batch: Batch) -> Tensor:
        """Scores of the classes, or the value, by each candidate: [b, candidates, outputs]."""

    def collator(self) -> Collator:
        return AsTensors()

    def counts(self, batch: Batch) -> dict[str, Tensor]:
        return {"supervised": torch.tensor(len(batch["targets"]))}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        logits, targets = self.logits(batch).float(), batch["targets"]
        candidates = logits.shape[1]
        targets = targets[:, None].expand(-1, candidates)
        if self.regression:
            return {"supervised": F.mse_loss(logits[..., 0], targets, reduction="sum")}
        return {"supervised": F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")}


class Supervised(Predictor):
    """A stock sequence-classification class, or peft's wrapper of one.

    Batches hold what the class takes (``input_ids``, ``attention_mask``, perhaps ``token_type_ids``, int64 [b, L]) and
    ``targets``.
    """

    def __init__(self, kept: nn.Module, *, regression: bool) -> None:
        super().__init__(regression=regression)
        use_first_token_only(kept)
        self.kept = kept

    def logits(self, batch: Batch) -> Tensor:
        inputs = {name: part for name, part in batch.items() if name not in ("targets", "counted")}
        logits: Tensor = self.kept(**inputs).logits
        return logits[:, None]
