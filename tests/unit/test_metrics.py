"""The metrics by hand: small cases, undefined ones, weights, and loading with no network."""

import socket
import sys
from functools import partial

import evaluate
import numpy as np
import pytest

from hfrep.errors import ConfigError
from hfrep.evaluation import metrics
from hfrep.evaluation.metrics import METRICS, GlueMetric, resampled


def value(name, predictions, references, weights=None):
    """One metric of lists, with weights of one where none are given."""
    times = np.ones(len(references)) if weights is None else np.array(weights, dtype=np.float64)
    return resampled(name, np.array(predictions), np.array(references), times[None])[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("accuracy", 3 / 5), ("f1", 2 / 3), ("matthews", 1 / 6), ("pearson", 1 / 6), ("spearman", 1 / 6)],
)
def test_by_hand(name, expected):
    """Two right ones, one right zero, one wrong of each: precision and recall 2/3; of two classes phi is Pearson's."""
    predictions, references = [1, 1, 1, 0, 0], [1, 1, 0, 1, 0]
    assert value(name, predictions, references) == pytest.approx(expected)
    found = METRICS[name](keep_in_memory=True).compute(predictions=predictions, references=references)
    assert found == {name: value(name, predictions, references)}
    assert type(found[name]) is float


def test_spearman_ranks_ties_by_their_mean():
    """Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5 over the root of 4.5 and 5."""
    assert value("spearman", [0, 7, 7, 100], [1, 2, 3, 4]) == pytest.approx(4.5 / np.sqrt(4.5 * 5))


@pytest.mark.parametrize(
    ("name", "predictions", "references", "expected"),
    [
        ("f1", [0, 0, 0], [0, 0, 0], 0.0),
        ("f1", [1, 1, 1], [1, 1, 1], 1.0),
        ("f1", [2, 1, 0], [0, 1, 2], 1.0),  # label 1 against the rest
        ("matthews", [1, 1, 1], [1, 1, 1], 0.0),
        ("matthews", [1, 1, 1], [0, 1, 0], 0.0),
        ("matthews", [0, 1, 0], [1, 1, 1], 0.0),
        ("pearson", [0.1, 0.1, 0.1], [1, 2, 3], 0.0),
        ("pearson", [1, 2, 3], [0.1, 0.1, 0.1], 0.0),
        ("pearson", [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], 0.0),
        ("pearson", [4.2], [1.0], 0.0),
        ("spearman", [0.1, 0.1, 0.1], [1, 2, 3], 0.0),
        ("accuracy", [1, 1, 1], [0, 0, 0], 0.0),
    ],
)
def test_undefined_is_zero_and_unwarned(name, predictions, references, expected):
    """Constant predictions, one class, one item: the number that GLUE scripts report, and no warning."""
    assert value(name, predictions, references) == expected
    found = METRICS[name](keep_in_memory=True).compute(predictions=predictions, references=references)
    assert found == {name: expected}


def test_a_resample_of_one_kind_only():
    """Items that were not drawn count for nothing: what is left is of one class or one value, and the metric is 0."""
    assert value("matthews", [0, 1, 0], [0, 1, 0], [2, 0, 1]) == 0
    assert value("accuracy", [0, 1, 1], [0, 1, 0], [2, 1, 0]) == 1
    for name in ("pearson", "spearman"):
        many = np.r_[np.full(2000, 0.1), 0.7]
        assert value(name, many, np.arange(2001.0), [1.0] * 2000 + [0.0]) == 0


def test_an_unknown_name_is_told():
    """The sentence lists the names there are."""
    words = "the metric: expected one of accuracy, f1, matthews, pearson, spearman, found bleu; name one of these"
    with pytest.raises(ConfigError, match=words):
        GlueMetric("bleu")


def test_the_file_loads_by_its_path_with_no_network(tmp_path, monkeypatch):
    """`evaluate.load` finds every metric in this file by its name, accuracy without one, and looks for no host."""

    def refused(*_):
        raise AssertionError("a look at the network")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(sys, "path", [*sys.path])  # evaluate adds the folder of copies
    copies = partial(evaluate.loading.init_dynamic_modules, hf_modules_cache=str(tmp_path))
    monkeypatch.setattr(evaluate.loading, "init_dynamic_modules", copies)
    items = {"predictions": [0, 1, 1, 1], "references": [0, 1, 1, 0]}
    for name, metric in METRICS.items():
        loaded = evaluate.load(metrics.__file__, name, keep_in_memory=True)
        assert type(loaded).__module__.startswith("evaluate_modules")
        assert loaded.compute(**items) == metric(keep_in_memory=True).compute(**items)
    assert evaluate.load(metrics.__file__, keep_in_memory=True).compute(**items) == {"accuracy": 0.75}
