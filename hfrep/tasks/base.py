"""What a task is: texts, what they are labelled with, and what is measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hfrep.data.order import Integers

Targets = NDArray[np.int64] | NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A row of the table of tasks.

    Attributes:
        name: as settings and folders spell it.
        title: as tables and submission files spell it.
        text_columns: one, or two for pairs.
        labels: names of the classes in the order of their numbers; None where a number is predicted.
        metrics: names in `hfrep.evaluation.metrics.METRICS`; the task's score is their mean.
        reported: splits that are scored; the task's score is the mean over them.
    """

    name: str
    title: str
    text_columns: tuple[str, ...]
    labels: tuple[str, ...] | None
    metrics: tuple[str, ...]
    label_column: str = "label"
    reported: tuple[str, ...] = ("validation",)

    @property
    def outputs(self) -> int:
        """Numbers that a model of the task gives for an example: a logit for each class, or one value."""
        return 1 if self.labels is None else len(self.labels)


@dataclass(frozen=True)
class Split:
    """Examples of a task.

    Attributes:
        texts: for each text column, n texts.
        targets: number of the label, int64 [n], or the value, float32 [n]; None where the source gives none (tests).
        ids: int64 [n], the source's own numbers of its rows (``idx``), or 0, 1, 2 …
    """

    texts: tuple[Sequence[str], ...]
    targets: Targets | None
    ids: Integers

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Integers) -> "Split":
        """The examples at `rows`, int64 [m]."""
        return Split(
            texts=tuple([column[row] for row in rows] for column in self.texts),
            targets=None if self.targets is None else self.targets[rows],
            ids=self.ids[rows],
        )


@dataclass(frozen=True)
class TaskData:
    """A task and its examples.

    Attributes:
        splits: ``train``, those that `task` reports, and ``test`` ones where they were asked for.
        notes: in what the splits are not the official ones, as sentences for the protocol.
        fingerprint: hex digest of all texts and targets.
        dataset: ``org/name:config`` of the Hub that they were read from; None where it was files.
    """

    task: Task
    splits: Mapping[str, Split]
    notes: tuple[str, ...]
    fingerprint: str
    dataset: str | None = None
