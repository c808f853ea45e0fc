"""Taking away what a prompt says before it has seen the item, and how far confidence can be trusted.

A prompt favours some classes by its wording and its demonstrations. Two ways to correct that divide the probability of
each class by a prior p̂ and renormalize; they differ in the sample over which p̂ is the mean of the probabilities:

- ``contextual``: inputs without content, as "N/A" (Zhao et al. 2021, "Calibrate before use", arXiv:2102.09690, section
  5: softmax of W p with W = diag(p̂)^-1 and b = 0. Here W p is divided by its sum, which has the same highest class and
  leaves probabilities untouched where p̂ is uniform);
- ``batch``: the scored items themselves, without their labels (Zhou et al. 2023, "Batch calibration",
  arXiv:2309.17249, equation 1 with the M items of the batch being all that are scored: p̂(y) = Σ p(y | x, C) / M, and
  the prediction is the highest of log p(y | x, C) - log p̂(y)). It thereby looks at the set that it is measured on, and
  pulls towards equal numbers of each class whether or not the set has them.

C is the prompt around the item. Another one has another prior: calibrate each demonstration seed and template apart.

The expected calibration error is that of Guo et al. 2017, "On calibration of modern neural networks",
arXiv:1706.04599, equation 3.
"""

from dataclasses import dataclass

import numpy as np

from hfrep.data.order import Integers
from hfrep.evaluation.interval import wilson
from hfrep.evaluation.prompting import choices
from hfrep.evaluation.task_scores import Estimate, Floats

CALIBRATIONS = ("none", "contextual", "batch")
BINS = 10


def calibrated(log_probabilities: Floats, method: str, content_free: Floats | None = None) -> Floats:
    """Log-probabilities of the classes with the prior taken away, float64 [n, c], in nats, renormalized.

    All items have the same choices, except with ``none``, which gives back what it gets.

    Args:
        log_probabilities: float64 [n, c], of the items of one prompt.
        method: one of `CALIBRATIONS`.
        content_free: float64 [m, c], normalized scores of the same choices for inputs without content; the other
            methods do not look at it.
    """
    if method == "none":
        return log_probabilities
    sample = {"contextual": content_free, "batch": log_probabilities}[method]
    assert sample is not None, "contextual calibration needs content-free inputs"
    assert sample.shape[1] == log_probabilities.shape[1]
    for scores in (sample, log_probabilities):
        assert np.isfinite(scores).all(), "calibration is for items that all have the same choices"
    return choices.log_probabilities(log_probabilities - _log_prior(sample))


def _log_prior(scores: Floats) -> Floats:
    """The log of the mean probability of each class, [c], which does not underflow where no item finds it likely."""
    log_prior: Floats = np.logaddexp.reduce(choices.log_probabilities(scores), axis=0) - np.log(len(scores))
    return log_prior


@dataclass(frozen=True)
class Bin:
    """Predictions whose confidence, the probability of the predicted class, is in (above, up_to].

    Attributes:
        confidence: their mean one.
        accuracy: share of them that are right, with Wilson's 95 % interval.
        count: how many they are, at least one.
    """

    above: float
    up_to: float
    confidence: float
    accuracy: Estimate
    count: int


@dataclass(frozen=True)
class Reliability:
    """How confidence and accuracy go together.

    Attributes:
        bins: from low to high confidence, without the empty ones.
        expected_calibration_error: mean distance of confidence and accuracy over bins, weighed by count, in [0, 1].
    """

    bins: tuple[Bin, ...]
    expected_calibration_error: float

    @property
    def count(self) -> int:
        """Of all predictions."""
        return sum(one.count for one in self.bins)


def reliability(probabilities: Floats, targets: Integers, bins: int = BINS, runs: int = 1) -> Reliability:
    """Bins of equal width over confidence, and the error of a model that is as right as it is sure, which is 0.

    Args:
        probabilities: float64 [n, c], rows that sum to 1.
        targets: int64 [n], places of the right choices.
        bins: how many divide [0, 1].
        runs: how many runs over the same items are stacked in `probabilities`. Runs are not independent trials; the
            intervals count only one in so many predictions, which errs on the wide side.
    """
    assert probabilities.ndim == 2
    assert targets.shape == probabilities.shape[:1]
    assert targets.size
    assert np.allclose(probabilities.sum(axis=1), 1), "probabilities sum to 1"
    confidence = probabilities.max(axis=1)
    right = choices.predictions(probabilities) == targets
    limits = np.arange(bins + 1) / bins
    places = np.searchsorted(limits[1:-1], confidence)  # without the last, so that a sum rounded above 1 has a bin
    found = []
    for place in np.unique(places):
        inside = places == place
        count, share = int(inside.sum()), float(right[inside].mean())
        accuracy = Estimate(share, *wilson(share, count / runs))
        found.append(
            Bin(float(limits[place]), float(limits[place + 1]), float(confidence[inside].mean()), accuracy, count)
        )
    gaps = [one.count * abs(one.accuracy.value - one.confidence) for one in found]
    return Reliability(tuple(found), sum(gaps) / len(targets))
