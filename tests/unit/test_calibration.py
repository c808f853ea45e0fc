"""Priors that are taken away, and the expected calibration error by hand."""

import numpy as np
import pytest

from hfrep.evaluation.interval import wilson
from hfrep.evaluation.prompting.calibration import CALIBRATIONS, Bin, calibrated, reliability
from hfrep.evaluation.prompting.choices import log_probabilities, predictions
from hfrep.evaluation.task_scores import Estimate


def drawn(items, classes, favour=(0.0,)):
    """Log-probabilities of a model that favours some classes, nats of `favour` in turn."""
    draw = np.random.default_rng(0)
    return log_probabilities(draw.normal(0, 2, (items, classes)) + np.resize(favour, classes))


def sure(*confidences):
    """Probabilities of two classes, of which the first is predicted."""
    first = np.array(confidences)
    return np.stack([first, 1 - first], axis=1)


def test_none_gives_back_what_it_gets():
    """Bit for bit, also where items have their own choices."""
    given = log_probabilities(np.array([[-1.0, -2.0, -np.inf], [-1.0, -2.0, -3.0]]))
    assert calibrated(given, "none") is given
    assert CALIBRATIONS == ("none", "contextual", "batch")


def test_contextual_calibration_by_hand():
    """Of the prior 3/4 : 1/4, odds of 2 : 1 become 2 : 3, and the answer another one."""
    given = np.log([[2 / 3, 1 / 3], [9 / 10, 1 / 10]])
    content_free = np.log([[3.0, 1.0]]) - 7  # not normalized to probabilities
    found = calibrated(given, "contextual", content_free)
    assert np.exp(found) == pytest.approx(np.array([[2 / 5, 3 / 5], [3 / 4, 1 / 4]]))
    assert predictions(given).tolist() == [0, 0]
    assert predictions(found).tolist() == [1, 0]


def test_a_content_free_input_comes_out_uniform():
    """What the prior was taken from; of several, the mean of their probabilities, which is not that of their logs."""
    one = drawn(1, 4, favour=(3, 0, -2))
    assert np.exp(calibrated(one, "contextual", one)) == pytest.approx(np.full((1, 4), 1 / 4))
    several = np.log([[0.98, 0.02], [0.5, 0.5], [0.02, 0.98], [0.9, 0.1]])  # mean 0.6, 0.4; of logs about 0.63
    mean = np.log([[0.6, 0.4]])
    assert np.exp(calibrated(mean, "contextual", several)) == pytest.approx(np.full((1, 2), 1 / 2))
    shifted = several - np.array([[1], [20], [3], [4]])  # scores of an input count alike, however unlikely it is
    assert np.exp(calibrated(mean, "contextual", shifted)) == pytest.approx(np.full((1, 2), 1 / 2))


def test_a_uniform_prior_changes_nothing():
    """Of contextual calibration, for which Zhao et al.'s own softmax of the quotients would."""
    given = drawn(20, 3)
    assert calibrated(given, "contextual", np.zeros((2, 3))) == pytest.approx(given)


def test_batch_calibration_by_hand():
    """Mean probabilities 0.7 and 0.3: odds of 6 : 4 become 6/7 : 4/3, which is 9 : 14."""
    given = np.log([[0.6, 0.4], [0.8, 0.2]])
    found = calibrated(given, "batch")
    assert np.exp(found) == pytest.approx(np.array([[9 / 23, 14 / 23], [12 / 19, 7 / 19]]))
    assert predictions(found).tolist() == [1, 0]


def test_batch_calibration_takes_away_the_mean_of_each_class():
    """Before they are renormalized, quotients have mean 1 for each class: log-ratios of classes move by one number."""
    given = drawn(300, 3, favour=(4, 0, 1))
    found = calibrated(given, "batch")
    assert np.exp(found).sum(axis=1) == pytest.approx(1)
    prior = np.exp(given).mean(axis=0)
    moved = (found[:, :1] - found[:, 1:]) - (given[:, :1] - given[:, 1:])
    assert moved == pytest.approx(np.broadcast_to(np.log(prior[1:] / prior[0]), (300, 2)))
    before, after = (np.bincount(predictions(scores)) / 300 for scores in (given, found))
    assert before.max() > 0.75
    assert after.max() < 0.6, "nearer to a third"


def test_a_class_that_no_item_finds_likely():
    """Of a probability far below the least float the prior is still finite, and so is what it leaves."""
    found = calibrated(log_probabilities(np.array([[0.0, -900.0], [0.0, -901.0]])), "batch")
    assert predictions(found).tolist() == [1, 0]
    assert np.isfinite(found).all()


@pytest.mark.parametrize("method", ["contextual", "batch"])
def test_other_choices_for_each_item_are_refused(method):
    """A prior over places that mean something else in each item would be noise."""
    padded = log_probabilities(np.array([[-1.0, -2.0, -np.inf], [-1.0, -2.0, -3.0]]))
    with pytest.raises(AssertionError, match="the same choices"):
        calibrated(padded, method, np.zeros((1, 3)))


def test_contextual_calibration_needs_its_inputs():
    """They are of the same choices; a method that is not there is a mistake, too."""
    given = drawn(2, 3)
    with pytest.raises(AssertionError, match="needs content-free inputs"):
        calibrated(given, "contextual")
    with pytest.raises(AssertionError, match="the same choices"):
        calibrated(given, "contextual", np.array([[-1.0, -np.inf, -1.0]]))
    with pytest.raises(AssertionError):
        calibrated(given, "contextual", np.zeros((1, 2)))
    with pytest.raises(KeyError):
        calibrated(given, "domain")


def test_reliability_by_hand():
    """Five predictions in three of ten bins; the error is (2 * 0.15 + 1 * 0.28 + 2 * 0.44) / 5."""
    found = reliability(sure(0.62, 0.68, 0.72, 0.92, 0.96), np.array([0, 1, 0, 0, 1]))
    assert [(one.above, one.up_to, one.count) for one in found.bins] == [(0.6, 0.7, 2), (0.7, 0.8, 1), (0.9, 1.0, 2)]
    assert [one.confidence for one in found.bins] == pytest.approx([0.65, 0.72, 0.94])
    assert [one.accuracy.value for one in found.bins] == [0.5, 1.0, 0.5]
    assert found.bins[0].accuracy == Estimate(0.5, *wilson(0.5, 2))
    assert found.expected_calibration_error == pytest.approx((2 * 0.15 + 0.28 + 2 * 0.44) / 5)
    assert found.count == 5


def test_one_bin_compares_the_means():
    """Over- and underconfidence cancel in it."""
    found = reliability(sure(0.9, 0.7), np.array([1, 0]), bins=1)
    (whole,) = found.bins
    assert whole == Bin(0.0, 1.0, pytest.approx(0.8), Estimate(0.5, *wilson(0.5, 2)), 2)
    assert found.expected_calibration_error == pytest.approx(0.3)


@pytest.mark.parametrize(("confidence", "above"), [(0.5, 0.4), (0.6, 0.5), (0.7, 0.6), (0.9, 0.8), (1.0, 0.9)])
def test_a_limit_belongs_to_the_bin_below(confidence, above):
    """(above, up_to], as in the paper; rounding does not move 0.6 or 0.7, nor a sum just above 1 out of the last."""
    for slightly in (0, 1e-12) if confidence == 1.0 else (0,):
        (found,) = reliability(sure(confidence + slightly), np.array([0])).bins
        assert found.above == above


def test_a_model_that_is_as_right_as_it_is_sure_has_no_error():
    """Labels drawn from the probabilities: about 0, and more once the probabilities are sharpened."""
    draw = np.random.default_rng(1)
    logs = drawn(20_000, 3)
    targets = (draw.random((20_000, 1)) > np.exp(logs).cumsum(axis=1)).sum(axis=1).clip(max=2)
    honest = reliability(np.exp(logs), targets)
    assert honest.expected_calibration_error < 0.02
    assert all(one.accuracy.low - 0.02 < one.confidence < one.accuracy.high + 0.02 for one in honest.bins)
    boastful = reliability(np.exp(log_probabilities(2 * logs)), targets)
    assert boastful.expected_calibration_error > 0.08


def test_stacked_runs_do_not_make_the_intervals_narrow():
    """Four runs over the same items that all answer alike know no more than one."""
    probabilities, targets = sure(0.62, 0.64, 0.66, 0.68), np.array([0, 0, 0, 1])
    one = reliability(probabilities, targets)
    four = reliability(np.tile(probabilities, (4, 1)), np.tile(targets, 4), runs=4)
    assert four.bins[0].accuracy == one.bins[0].accuracy
    assert four.expected_calibration_error == pytest.approx(one.expected_calibration_error)
    assert (one.count, four.count) == (4, 16)


def test_ties_and_unused_places():
    """The first of equal probabilities is the prediction, and a choice that is not there is never one."""
    found = reliability(np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]), np.array([0, 1]))
    assert [(one.accuracy.value, one.confidence) for one in found.bins] == [(0.5, 0.5)]
    with pytest.raises(AssertionError, match="sum to 1"):
        reliability(np.log(sure(0.5)), np.array([0]))
