"""The metrics against scikit-learn and scipy: on plain items, on resamples, and where they are not defined."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from hfrep.evaluation.metrics import METRICS, resampled

LIBRARY = {
    "accuracy": lambda references, predictions: accuracy_score(references, predictions),
    "f1": lambda references, predictions: f1_score(references, predictions, zero_division=0.0),
    "matthews": lambda references, predictions: matthews_corrcoef(references, predictions),
    "pearson": lambda references, predictions: pearsonr(references, predictions).statistic,
    "spearman": lambda references, predictions: spearmanr(references, predictions).statistic,
}


def examples(name, number, seed):
    """References and predictions that agree half of the time; values are float32, as of a model, with ties."""
    draw = np.random.default_rng(seed)
    if name in ("pearson", "spearman"):
        references = draw.integers(0, 26, number) / 5
        return references.astype(np.float32), (references + draw.normal(0, 2, number)).round(1).astype(np.float32)
    references = draw.integers(0, 2, number)
    return references, np.where(draw.random(number) < 0.5, references, draw.integers(0, 2, number))


@pytest.fixture(params=list(METRICS))
def name(request):
    return request.param


def test_classes_equal_the_libraries(name, tmp_path):
    """Each class gives the number that scikit-learn or scipy gives, for few items and for many."""
    metric = METRICS[name](cache_dir=str(tmp_path))
    for number in (5, 40, 1500):
        references, predictions = examples(name, number, seed=number)
        found = metric.compute(predictions=predictions, references=references)
        assert found == {name: pytest.approx(LIBRARY[name](references, predictions), abs=1e-7)}


def test_resamples_equal_the_libraries_on_repeated_items(name):
    """A row of weights gives what the library gives for the items repeated as often; Spearman ranks them anew."""
    references, predictions = examples(name, 60, seed=1)
    weights = np.random.default_rng(2).multinomial(60, np.full(60, 1 / 60), size=50)
    found = resampled(name, predictions, references, weights.astype(np.float64))
    expected = [LIBRARY[name](np.repeat(references, row), np.repeat(predictions, row)) for row in weights]
    assert found == pytest.approx(np.array(expected), abs=1e-6)
    assert np.ptp(found) > 0.1


def test_matthews_of_three_classes():
    """More than two classes, one of which is never predicted."""
    draw = np.random.default_rng(3)
    references, predictions = draw.integers(0, 3, 200), draw.integers(0, 2, 200)
    found = METRICS["matthews"](keep_in_memory=True).compute(predictions=predictions, references=references)
    assert found["matthews"] == pytest.approx(matthews_corrcoef(references, predictions))


@pytest.mark.parametrize(
    ("references", "predictions"), [([0, 1, 0, 1], [0, 0, 0, 0]), ([0, 1, 0, 1], [1, 1, 1, 1]), ([1, 1, 1], [0, 1, 0])]
)
def test_one_class_equals_the_library(references, predictions):
    """Where one side is of one class, F1 and Matthews are those of scikit-learn, which is 0 for Matthews."""
    for name in ("accuracy", "f1", "matthews"):
        found = METRICS[name](keep_in_memory=True).compute(predictions=predictions, references=references)
        assert found[name] == pytest.approx(LIBRARY[name](references, predictions))
    assert found["matthews"] == 0


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_correlations_of_nearly_constant_predictions(scale):
    """Predictions that differ in their last float32 digits only still have the correlation that scipy finds."""
    draw = np.random.default_rng(4)
    references = draw.normal(size=300)
    predictions = (scale * (1 + 1e-6 * (references + draw.normal(size=300)))).astype(np.float32).astype(np.float64)
    for name in ("pearson", "spearman"):
        found = resampled(name, predictions, references, np.ones((1, 300)))[0]
        assert found == pytest.approx(LIBRARY[name](references, predictions), abs=1e-6)
        assert found > 0.5
