"""Scores over seeds by hand, and intervals that hold what they promise."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import norm

from hfrep.errors import DataError
from hfrep.evaluation import task_scores
from hfrep.evaluation.task_scores import Part, TaskScores, average, paired, paired_average


def scores(*rights, metrics=("accuracy",)):
    """A part for each table of rights and wrongs, bool [seeds, n]; every reference is 1 and 0 in turn."""
    parts = []
    for right in map(np.asarray, rights):
        references = np.arange(right.shape[1]) % 2
        parts.append(Part(np.where(right, references, 1 - references), references))
    return TaskScores(metrics, tuple(parts))


def simulated(draw, seeds, items, ability=0.8, seed_spread=0.1):
    """Systems that are right where ability, item, seed and chance together are above 0."""
    latent = ability + draw.normal(0, 1, items) + draw.normal(0, seed_spread, (seeds, 1))
    return latent + draw.normal(0, 0.5, (seeds, items)) > 0


def truth(ability=0.8, seed_spread=0.1):
    """The accuracy that `simulated` has over all items and seeds."""
    return norm.cdf(ability / np.sqrt(1 + seed_spread**2 + 0.5**2))


def test_scores_by_hand():
    """Metrics are averaged in a part, then parts; seeds at last."""
    first = [[1, 1, 1, 0], [1, 1, 1, 1]]  # accuracy 3/4, 1; F1 of label 1: 2/3 (one of two found), 1
    second = [[0, 0], [1, 1]]  # 0, 1; 0, 1
    made = scores(first, second, metrics=("accuracy", "f1"))
    assert made.by_part == pytest.approx(np.array([[[3 / 4, 2 / 3], [1, 1]], [[0, 0], [1, 1]]]))
    assert made.by_seed == pytest.approx(np.array([(3 / 4 + 2 / 3) / 4, 1]))
    assert made.by_metric == pytest.approx({"accuracy": (3 / 4 + 1 + 0 + 1) / 4, "f1": (2 / 3 + 1 + 0 + 1) / 4})
    assert made.mean == pytest.approx((17 / 48 + 1) / 2)
    assert made.deviation == pytest.approx((1 - 17 / 48) / np.sqrt(2))
    assert made.seeds == 2


def test_one_seed_has_no_deviation():
    """A sample of one has none; that is told as 0.0, without a warning."""
    assert scores([[1, 0, 1]]).deviation == 0.0


def test_a_correlation_is_of_values():
    """Pearson and Spearman of float32 predictions, as STS-B has them."""
    references = np.array([1, 2, 3, 4], np.float32)
    made = TaskScores(("pearson", "spearman"), (Part(references[None] ** 3, references),))
    assert made.by_metric == pytest.approx({"pearson": np.corrcoef(references, references**3)[0, 1], "spearman": 1})
    low, high = made.interval()
    assert 0 <= low < made.mean <= high <= 1


def test_the_interval_of_one_seed_is_the_binomials():
    """Of 400 items with 300 right the resampled accuracy is a binomial share: its quantiles, to half a point."""
    low, high = scores([[1] * 300 + [0] * 100]).interval()
    assert (low, high) == pytest.approx((0.7075, 0.7925), abs=0.005)


def test_the_interval_of_three_seeds_by_hand():
    """All items alike in a seed: only seeds spread. Of three, two are drawn: 0, 0.5 or 1 with odds 4 : 4 : 1."""
    made = scores([[1] * 8, [0] * 8, [0] * 8])
    drawn = np.concatenate(list(task_scores._drawn([(made,)]))).ravel()
    values, times = np.unique(drawn, return_counts=True)
    assert values.tolist() == [0, 0.5, 1]
    assert times / len(drawn) == pytest.approx(np.array([4, 4, 1]) / 9, abs=0.05)
    assert np.var(drawn) == pytest.approx(made.deviation**2 / 3, rel=0.1)
    assert made.interval() == (0, 1)


def test_the_same_input_has_the_same_interval():
    """Draws do not hang on what was drawn before, and a copy has the limits of the first."""
    made = scores(simulated(np.random.default_rng(0), 3, 200))
    limits = made.interval()
    average([made, made])
    assert dataclasses.replace(made).interval() == limits


def test_blocks_of_draws_are_all_resamples(monkeypatch):
    """A split too large for one block has the interval's width of one that is not cut."""
    made = scores(simulated(np.random.default_rng(0), 3, 200))
    low, high = made.interval()
    monkeypatch.setattr(task_scores, "BLOCK", 200 * 7)
    cut = dataclasses.replace(made).interval()
    assert cut == pytest.approx((low, high), abs=0.01)
    assert cut[1] - cut[0] > 0.05


@pytest.mark.parametrize(("seeds", "spread"), [(1, 0.0), (3, 0.1), (5, 0.3)])
def test_the_interval_holds_its_promise(seeds, spread):
    """In draws of items and seeds about 95 % of the intervals hold the accuracy over all items and seeds."""
    draw = np.random.default_rng(1)
    limits = [scores(simulated(draw, seeds, 150, seed_spread=spread)).interval() for _ in range(200)]
    covered = np.mean([low <= truth(seed_spread=spread) <= high for low, high in limits])
    assert 0.88 <= covered <= 0.99


def test_seeds_add_width():
    """Three seeds that differ are less sure than three that are alike, though their mean is the same."""
    items = np.arange(400)
    alike = scores([items % 4 > 0] * 3)
    different = scores([items % 4 > 0, items % 10 > 3, items % 10 > 0])
    assert alike.mean == pytest.approx(different.mean)
    width, wide = (one.interval()[1] - one.interval()[0] for one in (alike, different))
    assert wide > 1.5 * width


def test_equal_systems_do_not_differ():
    """About 95 % of the intervals of a difference of equal systems hold 0; of a system and itself all are 0."""
    draw = np.random.default_rng(2)
    held = []
    for _ in range(200):
        item = draw.normal(0, 1, 150)
        one, other = (scores(item + draw.normal(0.8, 0.5, (3, 150)) > 0) for _ in range(2))
        found = paired(one, other)
        held.append(found.low <= 0 <= found.high)
    assert 0.92 <= np.mean(held) <= 1.0
    assert dataclasses.astuple(paired(one, one)) == (0, 0, 0)


def test_a_better_system_is_better():
    """Ten items more of 200, the same ones in all seeds: the difference is sure, though each interval holds both."""
    items = np.arange(200)
    better, worse = scores([items < 150] * 3), scores([items < 140] * 3)
    found = paired(better, worse)
    assert found.value == pytest.approx(0.05)
    assert 0 < found.low < found.value < found.high < 0.1
    assert better.interval()[0] < worse.mean
    back = paired(worse, better)
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low))


def test_averages_are_over_tasks():
    """A large task counts as much as a small one, one of two parts as much as one of one."""
    small, large = scores([[1, 0], [1, 1]]), scores([[1] * 900 + [0] * 100] * 2, [[1] * 500 + [0] * 500] * 2)
    found = average([small, large])
    assert found.value == pytest.approx((0.75 + 0.7) / 2)
    assert found.low < found.value < found.high
    difference = paired_average([(small, scores([[0, 0], [0, 0]])), (large, large)])
    assert difference.value == pytest.approx(0.75 / 2)
    assert dataclasses.astuple(average([small]))[1:] == small.interval()


def test_tasks_add_up():
    """Items of four like tasks are drawn apart: the average of one seed is twice as sure as one of them."""
    draw = np.random.default_rng(3)
    tasks = [scores(draw.random((1, 400)) < 0.7) for _ in range(4)]
    width = np.mean([np.subtract(*task.interval()[::-1]) for task in tasks])
    found = average(tasks)
    assert (found.high - found.low) / width == pytest.approx(0.5, abs=0.07)


def test_seeds_are_drawn_for_all_tasks_at_once():
    """A seed that is good at every task spreads the average as it spreads one task; other numbers are drawn apart."""
    three, four = scores([[1] * 8, [0] * 8, [0] * 8]), scores([[1] * 8, [0] * 8, [0] * 8, [0] * 8])
    together = np.mean(list(task_scores._drawn([(three,), (three,)])), axis=0)
    assert np.unique(together).tolist() == [0, 0.5, 1]
    apart = np.mean(list(task_scores._drawn([(three,), (four,)])), axis=0)
    assert len(np.unique(apart)) > 3


def crossed(made, *levels):
    return dataclasses.replace(made, crossing=levels)


def test_a_crossing_of_one_factor_is_the_seeds():
    """The same draws, so the same limits to the last bit; a factor of one level has nothing to draw."""
    draw = np.random.default_rng(4)
    made, other = (scores(simulated(draw, 4, 100, seed_spread=0.3)) for _ in range(2))
    assert crossed(made, 4).interval() == crossed(made, 4, 1).interval() == crossed(made, 1, 4).interval()
    assert crossed(made, 4).interval() == made.interval()
    assert paired(crossed(made, 4), other) == paired(made, other)


def test_each_factor_of_a_crossing_is_drawn_by_hand():
    """Two seeds by three templates: one seed is drawn, and two templates, each run with the product of its shares.

    All items of a run are alike. Only the second seed with the first template is right: its share is 0, 1/2 or 1 where
    that seed was drawn (odds 1 : 1), as the template was drawn never, once or twice of two (odds 4 : 4 : 1).
    """
    right = np.zeros((2, 3))
    right[1, 0] = 1
    made = crossed(scores(np.repeat(right.reshape(6, 1), 8, axis=1)), 2, 3)
    drawn = np.concatenate(list(task_scores._drawn([(made,)]))).ravel()
    values, times = np.unique(drawn, return_counts=True)
    assert values.tolist() == [0, 0.5, 1]
    assert times / len(drawn) == pytest.approx(np.array([1 / 2 + 2 / 9, 2 / 9, 1 / 18]), abs=0.04)
    assert made.mean == pytest.approx(1 / 6)
    assert drawn.mean() == pytest.approx(1 / 6, abs=0.03)


def test_the_last_factor_runs_fastest():
    """Templates that make all the difference, three of them by two seeds, spread; laid out otherwise they would not."""
    draw = np.random.default_rng(0)
    shares = task_scores._run_shares((2, 3), draw)
    assert shares.shape == (task_scores.RESAMPLES, 6)
    assert shares.sum(axis=1) == pytest.approx(1)
    seeds, templates = shares.reshape(-1, 2, 3).sum(axis=2), shares.reshape(-1, 2, 3).sum(axis=1)
    assert np.unique(seeds).tolist() == [0, 1]
    assert np.unique(templates).tolist() == [0, 0.5, 1]
    assert shares.reshape(-1, 2, 3) == pytest.approx(seeds[:, :, None] * templates[:, None, :])
    assert abs(np.corrcoef(seeds[:, 0], templates[:, 0])[0, 1]) < 0.1, "factors are drawn independently"


def test_a_crossing_is_less_sure_than_as_many_seeds():
    """Three templates that differ, each with five seeds that are alike, are three draws and not fifteen."""
    items = np.arange(400)
    templates = np.stack([items % 4 > 0, items % 10 > 3, items % 10 > 0])
    runs = scores(np.tile(templates, (5, 1)))
    apart, together = crossed(runs, 5, 3).interval(), runs.interval()
    assert apart[1] - apart[0] > 1.3 * (together[1] - together[0])
    assert crossed(runs, 5, 3).mean == runs.mean
    three = scores(templates).interval()
    assert apart == pytest.approx(three, abs=0.02)


@pytest.mark.parametrize("levels", [(5, 3), (3, 2)])
def test_the_interval_of_a_crossing_holds_its_promise(levels):
    """About 95 % of the intervals hold the accuracy over all items, seeds and templates, and pairs that are equal 0.

    Two or three levels that make much of the difference are too few for any bootstrap, so the spread is a moderate one.
    """
    draw = np.random.default_rng(5)
    covered = []
    for _ in range(150):
        latent = 0.8 + draw.normal(0, 1, 150) + draw.normal(0, 0.5, (*levels, 150))
        latent += draw.normal(0, 0.1, (levels[0], 1, 1)) + draw.normal(0, 0.05, (levels[1], 1))
        low, high = crossed(scores((latent > 0).reshape(-1, 150)), *levels).interval()
        covered.append(low <= norm.cdf(0.8 / np.sqrt(1.25 + 0.1**2 + 0.05**2)) <= high)
    assert 0.88 <= np.mean(covered) <= 1.0


def test_crossings_are_drawn_for_all_tasks_at_once():
    """As seeds are: a template that is good at every task spreads the average; other crossings are drawn apart."""
    made = scores([[1] * 8, [0] * 8, [0] * 8] * 2)
    two = crossed(made, 2, 3)
    together = np.mean(list(task_scores._drawn([(two,), (two,)])), axis=0)
    assert np.unique(together).tolist() == [0, 0.5, 1]
    apart = np.mean(list(task_scores._drawn([(two,), (crossed(made, 3, 2),)])), axis=0)
    assert len(np.unique(apart)) > 3


def test_other_crossings_are_refused():
    """A pair has the same one, and it has as many places as there are runs."""
    six = scores([[1, 0]] * 6)
    with pytest.raises(AssertionError, match="the same crossing"):
        paired(crossed(six, 2, 3), crossed(six, 3, 2))
    with pytest.raises(AssertionError, match="the same crossing"):
        paired(crossed(six, 2, 3), six)
    with pytest.raises(AssertionError, match="a run for each combination"):
        crossed(six, 2, 2)


def test_other_seeds_or_items_are_refused():
    """A pair has the same seeds, items and metrics, and parts have the same seeds: anything else is our mistake."""
    one = scores([[1, 0, 1, 0]])
    with pytest.raises(AssertionError, match="the same seeds"):
        paired(one, scores([[1, 0, 1, 0]] * 2))
    with pytest.raises(AssertionError, match="the same items"):
        paired(one, scores([[1, 0, 1]]))
    with pytest.raises(AssertionError, match="measured alike"):
        paired(one, scores([[1, 0, 1, 0]], metrics=("f1",)))
    with pytest.raises(AssertionError, match="all parts have the same seeds"):
        scores([[1, 0]], [[1, 0], [1, 0]])
    with pytest.raises(AssertionError):
        Part(np.zeros((1, 3), np.int64), np.zeros(4, np.int64))


def test_predictions_that_are_not_numbers_are_told():
    """A model whose training went astray gives nan, which no metric could tell from a wrong answer."""
    words = (
        "the predictions: expected finite numbers, found 2 of 4 that are not; check the weights of the model, "
        "or train with a lower learning rate."
    )
    with pytest.raises(DataError) as told:
        Part(np.array([[1.0, np.nan], [np.inf, 0.0]], np.float32), np.zeros(2, np.float32))
    assert str(told.value) == words
