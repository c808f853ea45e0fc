"""The metrics of GLUE (Wang et al. 2019) with no download: as `evaluate.Metric` classes, and on many resamples at once.

Each metric is written once, for weights that say how often an item was drawn, because a bootstrap asks for thousands of
them and scikit-learn takes one weighting at a time; with weights of one it is the plain metric, equal to scikit-learn's
or scipy's. All are shares or correlations in [-1, 1], not percent.

Where a metric is not defined it is 0, without a warning: F1 where label 1 neither occurs nor is predicted, Matthews
where predictions or references are of one class, a correlation where either is constant.

``evaluate.load(path of this file, "f1")`` gives any of them by name, and accuracy where none is given. evaluate copies
the file to load it, which is why it imports nothing of its neighbours and each import has a line.
"""

from collections.abc import Callable
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray

from hfrep.errors import ConfigError

CONSTANT = 1e-13  # a standard deviation below this share of the largest value is rounding, as in scipy's pearsonr
Values = NDArray[np.int64] | NDArray[np.float64] | NDArray[np.float32]
Floats = NDArray[np.float64]


def resampled(name: str, predictions: Values, references: Values, weights: Floats) -> Floats:
    """The metric `name` on each of many resamples of the same items: float64 [b].

    Spearman's ranks are those within a resample, so that its value is the one that scipy gives for the drawn items.

    Args:
        name: one of `METRICS`.
        predictions: numbers of labels, int64 [n], or values, float [n].
        references: like them.
        weights: float64 [b, n], how often each item was drawn; no row is all 0.
    """
    return _SCORES[name](predictions, references, weights)


def accuracy(predictions: Values, references: Values, weights: Floats) -> Floats:
    """Share of items whose label is right."""
    return _ratio(weights @ (predictions == references), weights.sum(axis=1))


def f1(predictions: Values, references: Values, weights: Floats) -> Floats:
    """Harmonic mean of precision and recall of label 1 against the rest."""
    found, there = predictions == 1, references == 1
    twice: Floats = 2 * (weights @ (found & there))
    return _ratio(twice, twice + weights @ (found != there))


def matthews(predictions: Values, references: Values, weights: Floats) -> Floats:
    """Matthews' correlation (1975), for more than two classes as R_K (Gorodkin 2004, equation 8)."""
    names, numbers = np.unique(np.concatenate([references, predictions]), return_inverse=True)
    cells = numbers[: len(references)] * len(names) + numbers[len(references) :]
    counts = weights @ np.eye(len(names) ** 2)[cells]
    counts = counts.reshape(-1, len(names), len(names))
    total, right = counts.sum(axis=(1, 2)), np.trace(counts, axis1=1, axis2=2)
    true, predicted = counts.sum(axis=2), counts.sum(axis=1)
    spread = (total**2 - (true**2).sum(axis=1)) * (total**2 - (predicted**2).sum(axis=1))
    return _ratio(right * total - (true * predicted).sum(axis=1), np.sqrt(spread))


def pearson(predictions: Values, references: Values, weights: Floats) -> Floats:
    """Pearson's correlation."""
    return _correlation(predictions.astype(np.float64), references.astype(np.float64), weights)


def spearman(predictions: Values, references: Values, weights: Floats) -> Floats:
    """Spearman's rank correlation, ties with their mean rank."""
    return _correlation(_ranks(predictions, weights), _ranks(references, weights), weights)


_SCORES: dict[str, Callable[[Values, Values, Floats], Floats]] = {
    "accuracy": accuracy,
    "f1": f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
}
_OF_VALUES = ("pearson", "spearman")


class GlueMetric(evaluate.Metric):
    """A metric by its name; ``compute(predictions=…, references=…)`` gives ``{name: value}``.

    It stands before the others because `evaluate.load` takes the first class of a file.

    Raises:
        ConfigError: there is no metric of that name.
    """

    def __init__(self, config_name: str | None = None, **options: Any) -> None:
        name = config_name or "accuracy"
        if name not in _SCORES:
            known = ", ".join(_SCORES)
            raise ConfigError(where="the metric", expected=f"one of {known}", found=name, do="name one of these")
        super().__init__(config_name=name, **options)

    def _info(self) -> Any:
        kind = datasets.Value("float64" if self.config_name in _OF_VALUES else "int64")
        return evaluate.MetricInfo(
            description=str(_SCORES[self.config_name].__doc__),
            citation="",
            inputs_description="predictions and references: numbers of labels, or values for correlations.",
            features=datasets.Features({"predictions": kind, "references": kind}),
            format="numpy",
        )

    def _compute(self, predictions: Values, references: Values) -> dict[str, float]:
        plain = np.ones((1, len(references)))
        return {self.config_name: float(resampled(self.config_name, predictions, references, plain)[0])}


class Accuracy(GlueMetric):
    def __init__(self, **options: Any) -> None:
        super().__init__("accuracy", **options)


class F1(GlueMetric):
    def __init__(self, **options: Any) -> None:
        super().__init__("f1", **options)


class Matthews(GlueMetric):
    def __init__(self, **options: Any) -> None:
        super().__init__("matthews", **options)


class Pearson(GlueMetric):
    def __init__(self, **options: Any) -> None:
        super().__init__("pearson", **options)


class Spearman(GlueMetric):
    def __init__(self, **options: Any) -> None:
        super().__init__("spearman", **options)


METRICS: dict[str, type[GlueMetric]] = {
    "accuracy": Accuracy,
    "f1": F1,
    "matthews": Matthews,
    "pearson": Pearson,
    "spearman": Spearman,
}


def _ratio(above: Floats, below: Floats) -> Floats:
    """`above` over `below`, 0 where `below` is."""
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0)


def _ranks(values: Values, weights: Floats) -> Floats:
    """The rank of each of `values` [n] among the drawn items of each resample: [b, n]."""
    names, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    tied = np.add.reduceat(weights[:, order], np.searchsorted(place[order], np.arange(len(names))), axis=1)
    ranks: Floats = np.cumsum(tied, axis=1) - (tied - 1) / 2
    return ranks[:, place]


def _correlation(first: Floats, second: Floats, weights: Floats) -> Floats:
    """Pearson's, weighted, of values that are the same for all resamples, [n], or not, [b, n]."""
    first, first_squares = _centred(first, weights)
    second, second_squares = _centred(second, weights)
    product = np.einsum("bn,bn,bn->b", weights, first, second)
    correlation: Floats = np.clip(_ratio(product, np.sqrt(first_squares * second_squares)), -1, 1)
    return correlation


def _centred(values: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """`values` less their mean, [b, n], and the sum of its squares, [b], which is 0 where the drawn ones are alike."""
    total = weights.sum(axis=1)
    mean = np.einsum("bn,bn->b", weights, np.broadcast_to(values, weights.shape)) / total
    centred = values - mean[:, None]
    squares = np.einsum("bn,bn,bn->b", weights, centred, centred)
    squares[squares <= total * (CONSTANT * np.abs(values).max(axis=-1)) ** 2] = 0
    return centred, squares
