"""What is predicted from log-likelihoods, under each normalization, by hand."""

import dataclasses

import numpy as np
import pytest

from hfrep.errors import DataError
from hfrep.evaluation.prompting.choices import (
    NORMALIZATIONS,
    ChoiceScores,
    log_probabilities,
    normalized,
    predictions,
)

INF = np.inf


def scores(nats, tokens, characters=None, utf8_bytes=None, unconditioned=None):
    """Lengths that are not given are the tokens."""
    given = [tokens if lengths is None else lengths for lengths in (tokens, characters, utf8_bytes)]
    other = None if unconditioned is None else np.array(unconditioned, float)
    return ChoiceScores(np.array(nats, float), *(np.array(lengths) for lengths in given), other)


@pytest.fixture
def disagreeing():
    """One item of five choices, each of which is the highest under one normalization."""
    return scores(
        nats=[[-6, -8, -12, -13, -20]],
        tokens=[[2, 8, 4, 4, 5]],  # -3, -1, -3, -3.25, -4
        characters=[[6, 8, 24, 20, 10]],  # -1, -1, -0.5, -0.65, -2
        utf8_bytes=[[6, 8, 24, 52, 10]],  # -1, -1, -0.5, -0.25, -2
        unconditioned=[[-5, -9, -14, -15, -26]],  # -1, 1, 2, 2, 6
    )


@pytest.mark.parametrize(
    ("name", "values", "place"),
    [
        ("sum", [-6, -8, -12, -13, -20], 0),
        ("token", [-3, -1, -3, -3.25, -4], 1),
        ("character", [-1, -1, -0.5, -0.65, -2], 2),
        ("byte", [-1, -1, -0.5, -0.25, -2], 3),
        ("pmi", [-1, 1, 2, 2, 6], 4),
    ],
)
def test_each_normalization_has_its_own_answer(disagreeing, name, values, place):
    """Values by hand; the five predict five different choices."""
    found = normalized(disagreeing, name)
    assert found.dtype == np.float64
    assert found == pytest.approx(np.array([values]))
    assert predictions(found).tolist() == [place]
    assert predictions(log_probabilities(found)).tolist() == [place]


def test_the_table_has_all_of_them():
    """The names that settings may have."""
    assert list(NORMALIZATIONS) == ["sum", "token", "character", "byte", "pmi"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_unused_places_are_never_predicted(name):
    """An item of two choices beside one of three: its third place stays -inf and has probability 0."""
    made = scores(
        [[-9, -4, -INF], [-2, -5, -1]], [[3, 2, 0], [1, 1, 1]], unconditioned=[[-1, -1, -INF], [-1, -1, -1.0]]
    )
    found = normalized(made, name)
    assert np.isneginf(found).tolist() == [[False, False, True], [False] * 3]
    assert predictions(found).tolist() == [1, 2]
    assert found[1, 2] == (0 if name == "pmi" else -1)
    logs = log_probabilities(found)
    assert logs[0, 2] == -INF
    assert np.exp(logs).sum(axis=1) == pytest.approx(1)


def test_log_probabilities_by_hand():
    """Odds of 3 : 1 in an item, 1 : 2 : 1 in the other; a constant of an item does not matter, however low."""
    odds = np.log([[3, 1, 1e-300], [1, 2, 1]])
    odds[0, 2] = -INF
    expected = np.array([[3 / 4, 1 / 4, 0], [1 / 4, 1 / 2, 1 / 4]])
    assert np.exp(log_probabilities(odds)) == pytest.approx(expected)
    assert np.exp(log_probabilities(odds - 5000)) == pytest.approx(expected)
    far = log_probabilities(np.array([[0.0, -2000.0]]))
    assert far.tolist() == [[0, -2000]], "a log-probability is no log of a rounded probability"


def test_of_equal_choices_the_first_is_predicted():
    """As numpy and lm-eval do; in an item with an unused place, too."""
    assert predictions(np.array([[-1.0, -1.0, -1.0], [-2.0, -1.0, -1.0], [-3.0, -3.0, -INF]])).tolist() == [0, 1, 0]
    assert predictions(np.array([[-1.0, -2.0]])).dtype == np.int64


def test_a_score_that_is_not_a_number_is_told():
    """nan or -inf where there is a choice comes from a model that went astray, of either prompt."""
    words = (
        "the log-likelihoods of the choices: expected finite numbers, found 2 of 3 that are not; check the weights of "
        "the model, or load it in float32."
    )
    lengths = [[1, 1], [1, 0]]
    with pytest.raises(DataError) as told:
        scores([[np.nan, -1], [-INF, -INF]], lengths)
    assert str(told.value) == words
    with pytest.raises(DataError, match="found 1 of 3"):
        scores([[-1, -1], [-1, -INF]], lengths, unconditioned=[[-1, -INF], [-1, -INF]])


def test_what_cannot_be_is_our_mistake():
    """Choices without a length, items without a choice, scores in unused places, pmi without its other scores."""
    with pytest.raises(AssertionError, match="a choice has a length"):
        scores([[-1, -1]], [[1, 1]], characters=[[1, 0]])
    with pytest.raises(AssertionError, match="a choice has a length"):
        scores([[-1, -INF]], [[1, 0]], utf8_bytes=[[1, 1]])
    with pytest.raises(AssertionError, match="unused places are -inf"):
        scores([[-1, -1]], [[1, 0]])
    with pytest.raises(AssertionError, match="an item has a choice"):
        scores([[-1, -1], [-INF, -INF]], [[1, 1], [0, 0]])
    good = scores([[-1, -1]], [[1, 1]])
    with pytest.raises(AssertionError, match="without the item"):
        normalized(good, "pmi")
    with pytest.raises(AssertionError):
        dataclasses.replace(good, tokens=np.ones((2, 2), np.int64))
    with pytest.raises(AssertionError):
        dataclasses.replace(good, unconditioned=np.zeros((1, 3)))
