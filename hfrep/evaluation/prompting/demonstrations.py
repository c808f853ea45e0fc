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
    """Chooses for the items of one task as one template puts them.

    Args:
        items: the items as text, without answers.
        read: gives a row of the pool as text, without its answer.
        embed: unit vectors of texts, float32 [n, H]; asked by ``nearest`` only.
    """

    def __init__(
        self, data: PromptData, how: Demonstrations, items: Sequence[str], read: Callable[[int], str], embed: Embed
    ) -> None:
        if how == "balanced" and data.prompt.labels is None:
            raise ConfigError(
                where="--demonstrations",
                expected=f"random, first or nearest for {data.prompt.name}, whose items have no classes",
                found=how,
                do="give one of these",
            )
        self._data, self._how, self._items, self._read, self._embed = data, how, items, read, embed

    def __call__(self, shots: int, seed: int) -> list[Integers]:
        """Rows of the pool that each item is shown, int64 [shots], the oldest first.

        Raises:
            DataError: the pool has too few.
        """
        if shots == 0:
            return [np.zeros(0, np.int64)] * len(self._items)
        if self._how == "nearest":
            return self._nearest(shots, seed)
        order = self._order(seed)
        common = self._apart(order, shots, None)
        shown = {self._read(row) for row in common.tolist()}
        return [self._apart(order, shots, text) if text in shown else common for text in self._items]

    def _order(self, seed: int) -> Integers:
        size = len(self._data.pool)
        if self._how == "first":
            return np.arange(size)
        order = np.argsort(counter_hash(seed, PURPOSE_SHOWN, np.arange(size)), kind="stable")
        if self._how == "balanced":
            labels = self._data.pool.targets[order]
            turn = np.zeros(size, np.int64)
            for label in np.unique(labels):
                turn[labels == label] = np.arange(np.count_nonzero(labels == label))
            order = order[np.argsort(turn, kind="stable")]
        return order

    def _apart(self, order: Integers, shots: int, text: str | None) -> Integers:
        """The first `shots` rows of `order` that do not read like `text`."""
        found: list[int] = []
        for row in order.tolist():
            if text is None or self._read(row) != text:
                found.append(row)
            if len(found) == shots:
                return np.array(found, np.int64)
        raise DataError(
            where=f"prompt {self._data.prompt.name}",
            expected=f"{shots} rows to show, other than the item",
            found=str(len(found)),
            do="lower --shots",
        )

    def _nearest(self, shots: int, seed: int) -> list[Integers]:
        size = len(self._data.pool)
        looked = np.sort(np.argsort(counter_hash(seed, PURPOSE_SHOWN, np.arange(size)), kind="stable")[:LOOKED_THROUGH])
        texts = [self._read(row) for row in looked.tolist()]
        alike = self._embed(self._items) @ self._embed(texts).T
        order = np.argsort(-alike, axis=1, kind="stable")
        return [
            self._apart(looked[nearest], shots, text)[::-1] for nearest, text in zip(order, self._items, strict=True)
        ]
