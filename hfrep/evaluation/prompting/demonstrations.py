"""Which examples a prompt shows before it asks.

``random``
    Drawn by a seed; of more shots, fewer are the first ones.
``balanced``
    Likewise, the classes taking turns, so that of each there are as many, give or take one.
``first``
    The first ones of the split, which other tools can show too.
``nearest``
    Those most like the item by the model's own features, the most alike last, next to it (Liu et al. 2022, "What makes
    good in-context examples for GPT-3?", arXiv:2101.06804): cosine of the mean vector of the last layer. They are
    looked for among `LOOKED_THROUGH` rows that are drawn by the seed.

An item is never shown to itself, nor is a row that reads the same.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hfrep.data.order import Integers, counter_hash
from hfrep.errors import ConfigError, DataError
from hfrep.tasks.items import PromptData

Demonstrations = Literal["random", "balanced", "first", "nearest"]
PURPOSE_SHOWN = 103  # what a row's hash is for, beside those of hfrep.tasks.reading
LOOKED_THROUGH = 4096

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


class Chooser:
    """Chooses for items of one task as one template puts them.

    Args:
        read: gives a row of the pool as text, without its answer.
        embed: unit vectors of texts, float32 [n, H]; asked by ``nearest`` only.
    """

    def __init__(self, data: PromptData, how: Demonstrations, read: Callable[[int], str], embed: Embed) -> None:
        if how == "balanced" and data.prompt.labels is None:
            raise ConfigError(
                where="--demonstrations",
                expected=f"random, first or nearest for {data.prompt.name}, whose items have no classes",
                found=how,
                do="give one of these",
            )
        self._data, self._how, self._read, self._embed = data, how, read, embed
        self._looked_through: dict[int, NDArray[np.float32]] = {}  # vectors, by seed
        self._asked: dict[tuple[str, ...], NDArray[np.float32]] = {}  # those of items

    def __call__(self, items: Sequence[str], shots: int, seed: int) -> list[Integers]:
        """Rows of the pool that each of `items`, texts without answers, is shown: int64 [shots], the oldest first.

        Raises:
            DataError: the pool has too few.
        """
        if shots == 0:
            return [np.zeros(0, np.int64)] * len(items)
        if self._how == "nearest":
            return self._nearest(items, shots, seed)
        order = self._order(seed)
        common = self._apart(order, shots, None)
        shown = {self._read(row) for row in common.tolist()}
        return [self._apart(order, shots, text) if text in shown else common for text in items]

    def _order(self, seed: int) -> Integers:
        size = len(self._data.pool)
        if self._how == "first":
            return np.arange(size)
        return np.argsort(counter_hash(seed, PURPOSE_SHOWN, np.arange(size)), kind="stable")

    def _apart(self, order: Integers, shots: int, text: str | None) -> Integers:
        """The first `shots` rows of `order` that do not read like `text`, the classes taking turns if they are to."""
        if self._how == "balanced":
            order = self._in_turns(order, shots, text)
        rows = self._unlike(order, shots, text)
        if len(rows) < shots:
            raise DataError(
                where=f"prompt {self._data.prompt.name}",
                expected=f"{shots} rows to show, other than the item",
                found=str(len(rows)),
                do="lower --shots",
            )
        return rows

    def _unlike(self, order: Integers, most: int, text: str | None) -> Integers:
        """The same, but as many as there are, `most` at most."""
        if text is None:
            return order[:most]
        unlike = (row for row in order.tolist() if self._read(row) != text)  # no more rows are read than need be
        return np.array(list(islice(unlike, most)), np.int64)

    def _in_turns(self, order: Integers, shots: int, text: str | None) -> Integers:
        """Rows of `order` that do not read like `text`, `shots` of a class at most, the first of each class first."""
        labels, rank = self._data.pool.targets[order], np.argsort(order)
        queues = [self._unlike(order[labels == label], shots, text) for label in np.unique(labels)]
        rows = np.concatenate([np.zeros(0, np.int64), *queues])
        turns = np.concatenate([np.zeros(0, np.int64), *(np.arange(len(queue)) for queue in queues)])
        return rows[np.lexsort((rank[rows], turns))]

    def _nearest(self, items: Sequence[str], shots: int, seed: int) -> list[Integers]:
        size = len(self._data.pool)
        looked = np.sort(np.argsort(counter_hash(seed, PURPOSE_SHOWN, np.arange(size)), kind="stable")[:LOOKED_THROUGH])
        if seed not in self._looked_through:
            self._looked_through[seed] = self._embed([self._read(row) for row in looked.tolist()])
        if tuple(items) not in self._asked:
            self._asked[tuple(items)] = self._embed(items)
        vectors = self._asked[tuple(items)]
        order = (np.argsort(-(self._looked_through[seed] @ vector), kind="stable") for vector in vectors)
        return [self._apart(looked[nearest], shots, text)[::-1] for nearest, text in zip(order, items, strict=True)]
