"""The Objective contract: what the loop knows of a pretext task.

An objective is the module that trains. It owns the corruption (its collator), the loss, and every parameter and buffer
the loss needs; the loop owns time. A loss is given as sums over counts, never as a mean: the loop adds the counts of a
step over micro-batches and processes and divides once, so that no way of splitting a batch changes what is learned.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from torch import Tensor, nn

from hfrep.data.batches import Batch, Collator

IGNORED = -100  # label of a position or slot that holds no target


class Objective(nn.Module, ABC):
    """A pretext task.

    Attributes:
        Options: the dataclass of the objective's own settings; None where it has none.
        kept: the part of the module that export saves.
        weights: of the loss terms; 1 where one is not named.
        batch_coupled: whether the loss couples the rows of a batch, which then cannot be split into micro-batches.
    """

    weights: Mapping[str, float] = MappingProxyType({})
    batch_coupled: ClassVar[bool] = False

    Options: ClassVar[type | None] = None
    kept: nn.Module

    @property
    def _no_split_modules(self) -> list[str]:
        """Classes of the layers that FSDP shards each by itself; accelerate asks the module it prepares by this name.

        Those that hold a tied weight are left to the whole: two shards cannot share one.
        """
        seen = Counter(id(weight) for _, weight in self.kept.named_parameters(remove_duplicate=False))
        return [
            name
            for name in getattr(self.kept, "_no_split_modules", None) or ()
            if all(
                seen[id(weight)] == 1
                for module in self.kept.modules()
                if type(module).__name__ == name
                for weight in module.parameters()
            )
        ]

    @abstractmethod
    def collator(self) -> Collator:
        """What makes this objective's training batches."""

    @abstractmethod
    def counts(self, batch: Batch) -> dict[str, Tensor]:
        """How many targets of each loss term `batch` holds (int64 scalars), read off before any forward."""

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Sum of each loss term over its targets in `batch` (float32 scalars). The only entry.

        In eval mode it may add other sums over the same targets, such as how many were guessed right.
        """

    def prove(self, sequence_length: int) -> list[str]:
        """Show, before training, that what rows of this length promise holds; what was shown, if anything.

        Raises:
            ProofError: it does not hold.
        """
        return []

    def after_step(self) -> None:
        """Called after each optimizer step: momentum copies and queues move here. Most objectives have none."""
        return
