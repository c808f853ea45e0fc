"""The nine tasks of GLUE (Wang et al. 2019, https://gluebenchmark.com), as the Hub dataset ``nyu-mll/glue`` has them.

Columns, names of labels and their numbers are that dataset's, metrics those of the benchmark's table 1. MNLI is scored
on both of its validation splits.
"""

from hfrep.tasks.base import Task

HUB_DATASET = "nyu-mll/glue"
DIAGNOSTIC = "ax"  # has no training split: a model of MNLI is to predict it

_PAIR = ("sentence1", "sentence2")
_TASKS = (
    Task(
        name="cola",
        title="CoLA",
        text_columns=("sentence",),
        labels=("unacceptable", "acceptable"),
        metrics=("matthews",),
    ),
    Task(
        name="sst2",
        title="SST-2",
        text_columns=("sentence",),
        labels=("negative", "positive"),
        metrics=("accuracy",),
    ),
    Task(
        name="mrpc",
        title="MRPC",
        text_columns=_PAIR,
        labels=("not_equivalent", "equivalent"),
        metrics=("accuracy", "f1"),
    ),
    Task(
        name="stsb",
        title="STS-B",
        text_columns=_PAIR,
        labels=None,
        metrics=("pearson", "spearman"),
    ),
    Task(
        name="qqp",
        title="QQP",
        text_columns=("question1", "question2"),
        labels=("not_duplicate", "duplicate"),
        metrics=("accuracy", "f1"),
    ),
    Task(
        name="mnli",
        title="MNLI",
        text_columns=("premise", "hypothesis"),
        labels=("entailment", "neutral", "contradiction"),
        metrics=("accuracy",),
        reported=("validation_matched", "validation_mismatched"),
    ),
    Task(
        name="qnli",
        title="QNLI",
        text_columns=("question", "sentence"),
        labels=("entailment", "not_entailment"),
        metrics=("accuracy",),
    ),
    Task(
        name="rte",
        title="RTE",
        text_columns=_PAIR,
        labels=("entailment", "not_entailment"),
        metrics=("accuracy",),
    ),
    Task(
        name="wnli",
        title="WNLI",
        text_columns=_PAIR,
        labels=("not_entailment", "entailment"),
        metrics=("accuracy",),
    ),
)
GLUE = {task.name: task for task in _TASKS}


def splits_to_predict(task: Task) -> tuple[str, ...]:
    """The splits that are predicted for others to score: one for each that is reported."""
    return tuple(split.replace("validation", "test") for split in task.reported)
