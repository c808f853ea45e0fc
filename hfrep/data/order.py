"""Which row stands at a position, and the randomness that belongs to a row: pure functions, no state to restore.

Positions are absolute and never reset. In a stream of N rows, position p is row ``bijection(key(seed, p // N), p % N)``
of pass ``p // N``. So a batch is a range of positions, a checkpoint is one number, and neither the number of processes
nor of loader workers can change what is trained on.

The bijection is a balanced Feistel network over the next power of four with cycle walking (Black and Rogaway 2002,
"Ciphers with arbitrary finite domains", section 5); small N use a sorted table instead, where few Feistel bits would
shuffle badly. The hash is the finalizer of SplitMix64 (Steele, Lea and Flood 2014), chained over the parts of a key.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hfrep.errors import ConfigError

Integers = NDArray[np.int64]
Words = NDArray[np.uint64]

PERIOD = 1024  # positions over which a mixture meets its quotas exactly
WINDOW = 64  # global batches inside which rows are grouped by length
SORTED_TABLE_UP_TO = 256  # rows
FEISTEL_ROUNDS = 6
POSITIONS_AHEAD = 4096

# What a random number is for: two purposes of one row never share a number.
PURPOSE_PERMUTATION, PURPOSE_MIXTURE, PURPOSE_CORPUS, PURPOSE_CHOOSE, PURPOSE_REPLACE, PURPOSE_TOKEN = range(6)
PURPOSE_WINDOW = 6


@dataclass(frozen=True)
class Addresses:
    """Rows at a range of positions: which pass over the data, which row, and how far the run is.

    Attributes:
        passes, rows: int64 [n].
        progress: float64 [n], position over the total of the run, in [0, 1]; 0 where the total is not known.
    """

    passes: Integers
    rows: Integers
    progress: NDArray[np.float64]


class Order(Protocol):
    """Maps positions (int64 [n]) to the passes and rows (int64 [n] each) that stand there."""

    def __call__(self, positions: Integers) -> tuple[Integers, Integers]: ...


def counter_hash(*parts: ArrayLike) -> Words:
    """Hash a tuple of integers to 64 well-mixed bits; array parts are broadcast against each other."""
    state = np.zeros(1, np.uint64)
    for part in parts:
        state = hashed_further(state, part)
    return state


def hashed_further(state: Words, part: ArrayLike) -> Words:
    """`counter_hash` of the parts that gave `state`, and of `part` behind them."""
    return _finalize((state ^ np.asarray(part).astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15))


def derived_seed(seed: int, *parts: int) -> int:
    """A seed of its own for each `parts`, as unrelated to `seed` as another seed would be."""
    return int(counter_hash(seed, *parts)[0] >> np.uint64(1))


def uniform(*parts: ArrayLike) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1) that are a function of the key `parts` alone, shaped as they broadcast."""
    return as_uniform(counter_hash(*parts))


def as_uniform(words: Words) -> NDArray[np.float64]:
    """The uniform number in [0, 1) that goes with each hash."""
    return np.asarray((words >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


def permuted(seed: int, passes: Integers, size: int, indices: Integers) -> Integers:
    """The image of each of `indices` (int64 [n], in [0, size)) under the permutation of its pass.

    Bijective in the index for every `size` ≥ 1 and every pass.
    """
    if size <= SORTED_TABLE_UP_TO:
        distinct, which = np.unique(passes, return_inverse=True)
        ranks = counter_hash(seed, PURPOSE_PERMUTATION, distinct[:, None], np.arange(size)[None, :])
        return np.argsort(ranks, axis=1, kind="stable")[which, indices].astype(np.int64)
    half = np.uint64(((size - 1).bit_length() + 1) // 2)
    keys = counter_hash(seed, PURPOSE_PERMUTATION, passes)
    values = _feistel(indices.astype(np.uint64), keys, half)
    outside = values >= np.uint64(size)
    while outside.any():
        values[outside] = _feistel(values[outside], keys[outside], half)
        outside = values >= np.uint64(size)
    return values.astype(np.int64)


@dataclass(frozen=True)
class Shuffled:
    """Every row once per pass, in an order of its own each pass."""

    size: int
    seed: int

    def __call__(self, positions: Integers) -> tuple[Integers, Integers]:
        passes = positions // self.size
        return passes, permuted(self.seed, passes, self.size, positions % self.size)


@dataclass(frozen=True)
class Mixture:
    """Corpora mixed by fixed quotas in each period of 1 024 positions, shuffled inside the period.

    Rows are numbered through the corpora: those of corpus k follow those of corpus k - 1. Each corpus has passes of
    its own, so a small one with a large weight comes round more often.
    """

    sizes: tuple[int, ...]
    weights: tuple[float, ...]
    seed: int

    def __post_init__(self) -> None:
        shares = ", ".join(str(weight) for weight in self.weights)
        if len(self.sizes) != len(self.weights) or min(self.weights) <= 0 or min(self.quotas) == 0:
            raise ConfigError(
                where="corpus_weights",
                expected=f"one weight per corpus ({len(self.sizes)}), each at least 1/{PERIOD} of their sum",
                found=shares,
                do="correct the weights or leave a corpus out",
            )

    @property
    def quotas(self) -> Integers:
        """Positions of each corpus in a period, by largest remainder; they sum to 1 024."""
        exact = np.asarray(self.weights) / sum(self.weights) * PERIOD
        quotas = np.floor(exact).astype(np.int64)
        largest_remainders = np.argsort(quotas - exact, kind="stable")[: PERIOD - quotas.sum()]
        quotas[largest_remainders] += 1
        return quotas

    def __call__(self, positions: Integers) -> tuple[Integers, Integers]:
        quotas, sizes = self.quotas, np.asarray(self.sizes)
        periods = positions // PERIOD
        slots = permuted(derived_seed(self.seed, PURPOSE_MIXTURE), periods, PERIOD, positions % PERIOD)
        ends = np.cumsum(quotas)
        corpora = np.searchsorted(ends, slots, side="right")
        within = periods * quotas[corpora] + slots - (ends - quotas)[corpora]
        passes, rows = np.empty_like(positions), np.empty_like(positions)
        for corpus, first in enumerate(np.cumsum(sizes) - sizes):
            here = corpora == corpus
            stream = Shuffled(self.sizes[corpus], derived_seed(self.seed, PURPOSE_CORPUS, corpus))
            passes[here], local = stream(within[here])
            rows[here] = first + local
        return passes, rows


@dataclass(frozen=True)
class _InWindows(ABC):
    """An order that is made a window of positions at a time; the last one asked for is kept."""

    _kept: dict[int, tuple[Integers, Integers]] = field(default_factory=dict, repr=False, compare=False, kw_only=True)

    @property
    @abstractmethod
    def window(self) -> int:
        """Positions of a window."""

    @abstractmethod
    def made(self, window: int) -> tuple[Integers, Integers]:
        """Passes and rows of the positions of window number `window`."""

    def __call__(self, positions: Integers) -> tuple[Integers, Integers]:
        windows = positions // self.window
        passes, rows = np.empty_like(positions), np.empty_like(positions)
        for window in np.unique(windows).tolist():
            if window not in self._kept:
                self._kept.clear()
                self._kept[window] = self.made(window)
            here = windows == window
            its_passes, its_rows = self._kept[window]
            within = positions[here] - window * self.window
            passes[here], rows[here] = its_passes[within], its_rows[within]
        return passes, rows


@dataclass(frozen=True)
class Ahead(_InWindows):
    """The same as `order`, of which thousands of positions cost little more than a few."""

    order: Order

    @property
    def window(self) -> int:
        return POSITIONS_AHEAD

    def made(self, window: int) -> tuple[Integers, Integers]:
        return self.order(np.arange(window * self.window, (window + 1) * self.window))


@dataclass(frozen=True)
class GroupedByLength(_InWindows):
    """The rows of another order, those of like length in one batch: less padding, and still a pure function.

    Inside a window of 64 global batches rows are put in order of their lengths and cut into batches, and the batches
    are shuffled. Which rows form a batch hangs on the order, the lengths and the batch size alone.

    Attributes:
        order: positions → passes and rows.
        lengths: int64 [rows].
        batch_rows: rows of a global batch.
        seed: of the shuffled batches.
        end: positions of the whole run, where the last window ends early; None where that is not known.
    """

    order: Order
    lengths: Integers
    batch_rows: int
    seed: int
    end: int | None = None

    @property
    def window(self) -> int:
        return WINDOW * self.batch_rows

    def made(self, window: int) -> tuple[Integers, Integers]:
        first, last = window * self.window, (window + 1) * self.window
        if self.end is not None and first < self.end:
            last = min(last, self.end)
        passes, rows = self.order(np.arange(first, last))
        ascending = np.argsort(self.lengths[rows], kind="stable")
        batches = np.array_split(ascending, range(self.batch_rows, last - first, self.batch_rows))
        # A batch that is not full stays the last, where the run ends.
        full = len(batches) - (len(batches[-1]) < self.batch_rows)
        shuffled = np.argsort(counter_hash(self.seed, PURPOSE_WINDOW, window, np.arange(full)), kind="stable")
        chosen = np.concatenate([*(batches[number] for number in shuffled), *batches[full:]])
        return passes[chosen], rows[chosen]


def order_of(sizes: Sequence[int], weights: Sequence[float] | None, seed: int) -> Order:
    """One stream over all rows, or a mixture where weights are given."""
    if weights is None:
        return Shuffled(sum(sizes), seed)
    return Mixture(tuple(sizes), tuple(weights), seed)


def rank_slice(start: int, stop: int, rank: int, ranks: int) -> tuple[int, int]:
    """The part of the positions [start, stop) that `rank` of `ranks` takes; parts differ by at most one position."""
    count = stop - start
    return start + count * rank // ranks, start + count * (rank + 1) // ranks


def _finalize(word: Words) -> Words:
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def _feistel(values: Words, keys: Words, half: np.uint64) -> Words:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = values >> half, values & mask
    for number in range(FEISTEL_ROUNDS):
        left, right = right, left ^ (counter_hash(keys, number, right) & mask)
    return (left << half) | right
