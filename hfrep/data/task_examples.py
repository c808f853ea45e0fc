"""Examples of several tasks as rows of one data set, each with the number of its task."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hfrep.data.examples import Examples
from hfrep.data.order import Integers, Order, order_of
from hfrep.data.rows import Arrays


@dataclass(frozen=True)
class TaskExamples(Examples):
    """Examples that are laid end to end task by task.

    Attributes:
        targets: float32 [n] for all tasks alike; label numbers below 2^24 are exact in it.
        tasks: int64 [n], the number of each example's task, ascending.
        weights: of the tasks in training, in their order; None to take each example once a pass.
    """

    tasks: Integers
    weights: tuple[float, ...] | None

    def take(self, indices: Integers) -> Arrays:
        """As of `Examples`, padded to the longest of all tasks, and ``task`` int64 [b]."""
        return {**super().take(indices), "task": self.tasks[indices]}

    def order(self, seed: int) -> Order:
        """Tasks mixed by their weights; each has passes of its own."""
        sizes = np.unique(self.tasks, return_counts=True)[1].tolist()
        return order_of(sizes, self.weights, seed)


def laid_together(parts: Mapping[int, Examples], weights: Sequence[float] | None = None) -> TaskExamples:
    """The examples of each task, by its number, as one data set; made by one tokenizer.

    Args:
        weights: of the tasks in training, in the order of their numbers.
    """
    numbers = sorted(parts)
    ordered = [parts[number] for number in numbers]
    sizes = [len(part) for part in ordered]
    types = [part.types for part in ordered if part.types is not None]
    assert len(types) in (0, len(ordered)), "one tokenizer gives types for all or for none"
    content = " ".join(f"{number}:{parts[number].fingerprint}" for number in numbers)
    return TaskExamples(
        ids=np.concatenate([part.ids for part in ordered]),
        types=np.concatenate(types) if types else None,
        lengths=np.concatenate([part.lengths for part in ordered]),
        targets=np.concatenate([part.targets.astype(np.float32) for part in ordered]),
        pad=ordered[0].pad,
        truncated=np.concatenate([part.truncated for part in ordered]),
        fingerprint=hashlib.blake2b(f"{content} {weights}".encode(), digest_size=16).hexdigest(),
        tasks=np.repeat(np.array(numbers, np.int64), sizes),
        weights=None if weights is None else tuple(weights),
    )
