"""The table of tasks, what is held out of one, and the baseline that has seen no text."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor

from hfrep.errors import DataError
from hfrep.evaluation.metrics import METRICS
from hfrep.tasks import TASKS
from hfrep.tasks.base import Split
from hfrep.tasks.docstrings import DOCSTRING_TASKS
from hfrep.tasks.glue import GLUE, splits_to_predict
from hfrep.tasks.own import CLASS_METRICS, REGRESSION_METRICS
from hfrep.tasks.reading import MOST_HELD_OUT, held_out, majority


def split(targets):
    texts = [f"text {row}" for row in range(len(targets))]
    return Split((texts,), np.array(targets), np.arange(len(targets)))


@pytest.mark.parametrize("name", TASKS)
def test_each_task_is_whole(name):
    """Whatever stands in the table has texts, labels that differ, metrics that suit them, and a reported split."""
    task = TASKS[name]
    assert task.name == name
    assert task.title
    assert len(task.text_columns) in (1, 2)
    assert task.outputs == (1 if task.labels is None else len(set(task.labels)))
    assert task.labels is None or len(task.labels) >= 2
    assert set(task.metrics) <= set(METRICS)
    assert set(task.metrics) <= set(REGRESSION_METRICS if task.labels is None else CLASS_METRICS)
    assert task.reported
    assert "test" not in "".join(task.reported)


def test_names_of_metrics_are_those_that_exist():
    """What own tasks may ask for is what can be computed."""
    assert {*CLASS_METRICS, *REGRESSION_METRICS} == set(METRICS)


def test_glue_is_the_hubs():
    """Columns, and labels in the order of their numbers, are those of nyu-mll/glue; the metrics are the benchmark's."""
    assert {name: (task.title, task.text_columns, task.labels, task.metrics) for name, task in GLUE.items()} == {
        "cola": ("CoLA", ("sentence",), ("unacceptable", "acceptable"), ("matthews",)),
        "sst2": ("SST-2", ("sentence",), ("negative", "positive"), ("accuracy",)),
        "mrpc": ("MRPC", ("sentence1", "sentence2"), ("not_equivalent", "equivalent"), ("accuracy", "f1")),
        "stsb": ("STS-B", ("sentence1", "sentence2"), None, ("pearson", "spearman")),
        "qqp": ("QQP", ("question1", "question2"), ("not_duplicate", "duplicate"), ("accuracy", "f1")),
        "mnli": ("MNLI", ("premise", "hypothesis"), ("entailment", "neutral", "contradiction"), ("accuracy",)),
        "qnli": ("QNLI", ("question", "sentence"), ("entailment", "not_entailment"), ("accuracy",)),
        "rte": ("RTE", ("sentence1", "sentence2"), ("entailment", "not_entailment"), ("accuracy",)),
        "wnli": ("WNLI", ("sentence1", "sentence2"), ("not_entailment", "entailment"), ("accuracy",)),
    }
    assert GLUE["mnli"].reported == ("validation_matched", "validation_mismatched")
    assert {task.reported for name, task in GLUE.items() if name != "mnli"} == {("validation",)}


def test_splits_to_predict():
    """Each split that is reported has one that the official server scores."""
    assert splits_to_predict(GLUE["mnli"]) == ("test_matched", "test_mismatched")
    assert splits_to_predict(GLUE["cola"]) == ("test",)


def test_built_in_tasks_are_of_each_kind():
    """A single sentence with two classes, a pair, many classes, and a regression; no name is one of GLUE's."""
    kinds = {(len(task.text_columns), task.outputs) for task in DOCSTRING_TASKS.values()}
    assert kinds == {(1, 2), (2, 2), (1, 8), (2, 1)}
    assert len(TASKS) == len(GLUE) + len(DOCSTRING_TASKS)


def test_held_out_is_a_part_that_hangs_on_seed_and_position():
    """Rest and held-out part are the rows, each once; the part is the same every time, another for each seed."""
    rest, part = held_out(200, 0.1, seed=0)
    assert len(part) == 20
    assert sorted([*rest, *part]) == list(range(200))
    assert np.array_equal(held_out(200, 0.1, seed=0)[1], part)
    assert not np.array_equal(held_out(200, 0.1, seed=1)[1], part)
    assert np.ptp(part) > 100, "rows of all the split"


def test_held_out_is_never_nothing_and_never_too_much():
    """At least one row is held out, at most two thousand, and one at least is left to train on."""
    assert [len(part) for part in held_out(3, 0.01, seed=0)] == [2, 1]
    assert [len(part) for part in held_out(2, 0.99, seed=0)] == [1, 1]
    assert [len(part) for part in held_out(50_000, 0.1, seed=0)] == [50_000 - MOST_HELD_OUT, 2000]


def test_one_row_cannot_be_split():
    """Nothing would be left to train on."""
    with pytest.raises(DataError, match="train: expected two rows or more, of which some are held out, found 1; give"):
        held_out(1, 0.1, seed=0)


@pytest.mark.parametrize(
    ("name", "targets", "reference"),
    [
        ("mnli", np.array([2, 1, 2, 0]), DummyClassifier(strategy="most_frequent")),
        ("rte", np.array([1, 0, 0, 1]), DummyClassifier(strategy="most_frequent")),
        ("stsb", np.array([0.5, 4.0, 1.5], np.float32), DummyRegressor(strategy="mean")),
    ],
    ids=["classes", "a tie", "values"],
)
def test_majority_is_scikit_learns_dummy(name, targets, reference):
    """The most frequent label, the first of several, or the mean value, for each row of the other split."""
    predicted = majority(split(targets), split(targets[:2]), TASKS[name])
    expected = reference.fit(np.zeros((len(targets), 1)), targets).predict(np.zeros((2, 1)))
    assert predicted.dtype == targets.dtype
    assert predicted == pytest.approx(expected)
