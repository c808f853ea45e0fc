"""The score of a task over seeds, averages over tasks, differences of two systems, and how sure each is.

As in GLUE (Wang et al. 2019) a task's score is the mean of its metrics, then of its splits (MNLI has two), and an
average is the unweighted mean over tasks.

Intervals hold 95 % and are of the percentile bootstrap (Efron and Tibshirani 1993, chapter 13). Items and seeds are
drawn independently of each other, and all seeds are asked the same drawn items (Owen 2007, "The pigeonhole bootstrap",
which shows that this errs on the wide side). Of S seeds S - 1 are drawn: S would give their mean (S - 1) / S of its
variance, which matters for three (McCarthy and Snowden 1985, "The bootstrap and finite population sampling"). With
one seed an interval is about the items only. A difference is drawn pairwise, the same items and seeds for both systems
(Koehn 2004; Berg-Kirkpatrick et al. 2012, "An empirical investigation of statistical significance in NLP").
Where the runs are not seeds but a full crossing of factors, as of demonstration seeds and templates, each factor is
drawn as seeds are, apart from the others, and a run weighs the product of its shares (Owen and Eckles 2012,
"Bootstrapping data arrays of arbitrary order").

What the bootstrap cannot see: where all predictions are right, it has no width; with two or three seeds it is too
narrow where seeds, not items, make the difference. The draws are the same in every call, and so are the limits.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hfrep.errors import DataError
from hfrep.evaluation.metrics import Values, resampled

RESAMPLES = 1000
SEED = 1993
BLOCK = 1 << 20  # weights held at once, so that a large split needs no more memory than a small one
LIMITS = (0.025, 0.975)
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Part:
    """One reported split.

    Attributes:
        predictions: numbers of labels, int64 [seeds, n], or values, float [seeds, n].
        references: like them, [n].

    Raises:
        DataError: a prediction is not a finite number.
    """

    predictions: Values
    references: Values

    def __post_init__(self) -> None:
        assert self.predictions.ndim == 2
        assert self.references.shape == self.predictions.shape[1:]
        assert self.predictions.size
        wrong = int(np.count_nonzero(~np.isfinite(self.predictions)))
        if wrong:
            raise DataError(
                where="the predictions",
                expected="finite numbers",
                found=f"{wrong:,} of {self.predictions.size:,} that are not",
                do="check the weights of the model, or train with a lower learning rate",
            )


@dataclass(frozen=True)
class Estimate:
    """A score or a difference of two, in [-1, 1] or [-2, 2], with the limits of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class TaskScores:
    """What one system gets on one task, trained once for each seed, or run once for each place of a crossing.

    Attributes:
        metrics: names in `hfrep.evaluation.metrics.METRICS`.
        parts: the splits, of the same seeds in the same order.
        crossing: the number of levels of each factor whose full crossing takes the place of the seeds, the last one
            running fastest; empty where the seeds are the only factor.
    """

    metrics: tuple[str, ...]
    parts: tuple[Part, ...]
    crossing: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        assert self.metrics
        assert self.parts
        assert len({len(part.predictions) for part in self.parts}) == 1, "all parts have the same seeds"
        assert math.prod(self.factors) == self.seeds, "a crossing has a run for each combination of levels"

    @property
    def seeds(self) -> int:
        """How many, or runs of a crossing."""
        return len(self.parts[0].predictions)

    @property
    def factors(self) -> tuple[int, ...]:
        """The number of levels of each, that are drawn independently."""
        return self.crossing or (self.seeds,)

    @cached_property
    def by_part(self) -> Floats:
        """Each metric: float64 [parts, seeds, metrics]."""
        return np.array(
            [
                [
                    [float(resampled(name, one, part.references, _once(part))[0]) for name in self.metrics]
                    for one in part.predictions
                ]
                for part in self.parts
            ]
        )

    @property
    def by_seed(self) -> Floats:
        """The score of each seed, float64 [seeds], in [-1, 1]."""
        scores: Floats = self.by_part.mean(axis=(0, 2))
        return scores

    @property
    def by_metric(self) -> Mapping[str, float]:
        """The mean of each metric over seeds and parts."""
        return dict(zip(self.metrics, self.by_part.mean(axis=(0, 1)).tolist(), strict=True))

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return float(self.by_seed.mean())

    @property
    def deviation(self) -> float:
        """The sample standard deviation over seeds, 0.0 for one."""
        return float(self.by_seed.std(ddof=1)) if self.seeds > 1 else 0.0

    def interval(self) -> tuple[float, float]:
        """Limits of the 95 % interval of `mean`."""
        return self._interval.low, self._interval.high

    @cached_property
    def _interval(self) -> Estimate:
        return average([self])


def average(scores: Sequence[TaskScores]) -> Estimate:
    """The unweighted mean of one system's scores over tasks."""
    drawn = np.mean([one for (one,) in _drawn([(task,) for task in scores])], axis=0)
    return _estimate(float(np.mean([task.mean for task in scores])), drawn)


def paired(first: TaskScores, second: TaskScores) -> Estimate:
    """How much higher `first` scores than `second` on one task; they have the same items and number of seeds."""
    return paired_average([(first, second)])


def paired_average(pairs: Sequence[tuple[TaskScores, TaskScores]]) -> Estimate:
    """How much higher the average of the first of each pair is than that of the second, over tasks.

    Items are drawn within each task; seeds for all tasks at once where all have as many, otherwise for each. So are the
    factors of crossings.
    """
    for first, second in pairs:
        assert first.metrics == second.metrics, "a pair is measured alike"
        assert first.seeds == second.seeds, "a pair has the same seeds"
        assert first.factors == second.factors, "a pair has the same crossing"
        for one, other in zip(first.parts, second.parts, strict=True):
            assert np.array_equal(one.references, other.references), "a pair has the same items"
    drawn = np.mean([first - second for first, second in _drawn(pairs)], axis=0)
    return _estimate(float(np.mean([first.mean - second.mean for first, second in pairs])), drawn)


def _estimate(value: float, drawn: Floats) -> Estimate:
    low, high = np.quantile(drawn, LIMITS).tolist()
    return Estimate(value, low, high)


def _drawn(tasks: Sequence[Sequence[TaskScores]]) -> Iterator[Floats]:
    """For each task the scores of its systems on the same resamples: float64 [systems, RESAMPLES]."""
    draw = np.random.default_rng(SEED)
    alike = len({systems[0].factors for systems in tasks}) == 1
    shares = _run_shares(tasks[0][0].factors, draw)
    for systems in tasks:
        if not alike:
            shares = _run_shares(systems[0].factors, draw)
        yield np.einsum("bs,psb->pb", shares, _drawn_by_seed(systems, draw))


def _drawn_by_seed(systems: Sequence[TaskScores], draw: np.random.Generator) -> Floats:
    """The scores of the systems and their seeds on the same resampled items: float64 [systems, seeds, RESAMPLES]."""
    parts, metrics = len(systems[0].parts), systems[0].metrics
    scores = np.zeros((len(systems), systems[0].seeds, RESAMPLES))
    for number in range(parts):
        references = systems[0].parts[number].references
        for block, weights in _item_weights(len(references), draw):
            for place, system in enumerate(systems):
                for seed, predictions in enumerate(system.parts[number].predictions):
                    for name in metrics:
                        scores[place, seed, block] += resampled(name, predictions, references, weights)
    return scores / (parts * len(metrics))


def _item_weights(items: int, draw: np.random.Generator) -> Iterator[tuple[slice, Floats]]:
    """How often each item is drawn, float64 [rows, items], for blocks that together are RESAMPLES rows."""
    step = max(1, BLOCK // items)
    for start in range(0, RESAMPLES, step):
        rows = min(step, RESAMPLES - start)
        chosen = draw.integers(items, size=(rows, items)) + items * np.arange(rows)[:, None]
        counts = np.bincount(chosen.ravel(), minlength=rows * items).reshape(rows, items)
        yield slice(start, start + rows), counts.astype(np.float64)


def _run_shares(factors: Sequence[int], draw: np.random.Generator) -> Floats:
    """The weight of each run of a crossing, row by row, in the mean of a resample: float64 [RESAMPLES, runs]."""
    shares = np.ones((RESAMPLES, 1))
    for levels in factors:
        shares = (shares[:, :, None] * _seed_shares(levels, draw)[:, None, :]).reshape(RESAMPLES, -1)
    return shares


def _seed_shares(seeds: int, draw: np.random.Generator) -> Floats:
    """The weight of each seed in the mean of a resample: float64 [RESAMPLES, seeds], rows that sum to 1."""
    if seeds == 1:
        return np.ones((RESAMPLES, 1))
    return draw.multinomial(seeds - 1, np.full(seeds, 1 / seeds), size=RESAMPLES) / (seeds - 1)


def _once(part: Part) -> Floats:
    return np.ones((1, len(part.references)))
