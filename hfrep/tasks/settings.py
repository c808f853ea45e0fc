"""Which tasks, from where, and how much of them."""

from dataclasses import dataclass
from pathlib import Path

from hfrep.errors import ConfigError
from hfrep.settings import setting
from hfrep.tasks.docstrings import DOCSTRING_TASKS
from hfrep.tasks.glue import GLUE
from hfrep.tasks.own import CLASS_METRICS, REGRESSION_METRICS

ALL = "all"


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    task: list[str] | None = setting(
        None,
        f"one or more of {', '.join(GLUE)} ({ALL}: these nine), of {', '.join(DOCSTRING_TASKS)} (built in, the "
        "default), a folder of your own in --data, or a name for --train_file",
        aliases=("task_name",),
    )
    # What was read is part of a run's identity by its fingerprint; a path may move.
    data: str | None = setting(
        None,
        "folder with <task>/<split>.parquet, .jsonl, .tsv or .csv; default: GLUE is had from the Hub",
        kind="operation",
    )
    train_file: str | None = setting(None, "examples of a task of your own, to train on", kind="operation")
    validation_file: str | None = setting(None, "examples of it to be judged by", kind="operation")
    test_file: str | None = setting(None, "examples of it to predict", kind="operation")
    text_columns: list[str] | None = setting(
        None,
        "columns of an own task that hold the text or the pair of texts; default: all that hold text",
        aliases=("text_column_names",),
    )
    label_column: str = setting(
        "label", "column of an own task that holds the label, or the number to predict", aliases=("label_column_name",)
    )
    metrics: list[str] | None = setting(
        None,
        f"of an own task: {', '.join(CLASS_METRICS)}, or for numbers {', '.join(REGRESSION_METRICS)}; the score is "
        "their mean; default: accuracy, or both of those for numbers",
        aliases=("metric_name",),
    )
    max_train_examples: int | None = setting(
        None, "training examples of a task, the same ones in every run", aliases=("max_train_samples",)
    )
    max_eval_examples: int | None = setting(
        None, "examples of a split that is scored, the same ones in every run", aliases=("max_eval_samples",)
    )

    @property
    def names(self) -> list[str]:
        """The tasks, each once, in the order asked for."""
        if self.task is None:
            return list(DOCSTRING_TASKS) if self.train_file is None else [Path(self.train_file).stem]
        return list(dict.fromkeys(one for name in self.task for one in (GLUE if name == ALL else [name])))

    def __post_init__(self) -> None:
        self._check_files()
        if self.data is not None and self.task is None:
            found, do = "--data alone", f"name tasks, or give --task {ALL}"
            raise ConfigError(where="--task", expected="the tasks to read from --data", found=found, do=do)
        if self.task == [] or self.text_columns == [] or self.metrics == []:
            name = next(name for name in ("task", "text_columns", "metrics") if getattr(self, name) == [])
            raise ConfigError(where=f"--{name}", expected="one name or more", found="none", do="name some")
        if self.text_columns is not None and len(set(self.text_columns)) != len(self.text_columns[:2]):
            found = ", ".join(self.text_columns)
            raise ConfigError(where="--text_columns", expected="one column, or two", found=found, do="leave some out")
        asked, known = set(self.metrics or ()), (set(CLASS_METRICS), set(REGRESSION_METRICS))
        if not any(asked <= kind for kind in known):
            raise ConfigError(
                where="--metrics",
                expected=f"some of {', '.join(CLASS_METRICS)}, or of {', '.join(REGRESSION_METRICS)}",
                found=", ".join(self.metrics or ()),
                do="give such as go together",
            )
        for name in ("max_train_examples", "max_eval_examples"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise ConfigError(where=f"--{name}", expected="1 or more", found=str(number), do="raise it")

    def _check_files(self) -> None:
        given = [name for name in ("train_file", "validation_file", "test_file") if getattr(self, name) is not None]
        if not given:
            return
        missing = [f"--{name}" for name in ("train_file", "validation_file") if name not in given]
        if missing:
            found = " and ".join(f"--{name}" for name in given)
            raise ConfigError(
                where=" and ".join(missing),
                expected="both --train_file and --validation_file, or neither",
                found=f"{found} alone",
                do="give the other file too",
            )
        if self.data is not None:
            raise ConfigError(where="--data", expected="this or --train_file", found="both", do="leave one of them out")
        if self.task is not None and (len(self.task) != 1 or self.task[0] in (ALL, *GLUE, *DOCSTRING_TASKS)):
            raise ConfigError(
                where="--task",
                expected="one name of your own for the task in --train_file",
                found=", ".join(self.task),
                do="give another, or leave --train_file out",
            )
