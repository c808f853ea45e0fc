"""A task of the user's own: what its columns, labels and metrics are is read off its training split."""

from collections.abc import Sequence
from typing import Any

from hfrep.errors import ConfigError, DataError
from hfrep.tasks.base import Task
from hfrep.tasks.tables import Table
from hfrep.tasks.targets import MISSING, names_of, stored_values

REGRESSION_METRICS = ("pearson", "spearman")
CLASS_METRICS = ("accuracy", "f1", "matthews")


def infer_task(
    name: str, table: Table, *, text_columns: Sequence[str] | None, label_column: str, metrics: Sequence[str] | None
) -> Task:
    """The task whose training split is `table`.

    Labels are the names that the column has for its numbers, or else the values in it, sorted. A value is predicted
    where the column holds numbers with a fraction, or where the metrics are correlations.

    Raises:
        ConfigError: metrics for something else than what the column holds.
        DataError: no such columns, or more columns of text than two and none named.
    """
    values = stored_values(table, label_column)
    regression = any(isinstance(value, float) for value in values)
    if metrics is None:
        metrics = REGRESSION_METRICS if regression else CLASS_METRICS[:1]
    elif regression and not set(metrics) <= set(REGRESSION_METRICS):
        raise _other_metrics(f"{' or '.join(REGRESSION_METRICS)}, since {label_column!r} holds numbers", metrics)
    labels = None
    if not set(metrics) <= set(REGRESSION_METRICS):
        labels = names_of(table, label_column) or _distinct(table, label_column, values)
        if "f1" in metrics and len(labels) != 2:
            raise _other_metrics(f"accuracy or matthews, since f1 is of two labels and here are {len(labels)}", metrics)
    return Task(
        name=name,
        title=name,
        text_columns=tuple(text_columns or _texts(table, label_column)),
        labels=labels,
        metrics=tuple(metrics),
        label_column=label_column,
    )


def _distinct(table: Table, column: str, values: Sequence[Any]) -> tuple[str, ...]:
    """Numbers come in their order, names in that of the alphabet."""
    for row, value in enumerate(values, 1):
        if not isinstance(value, str | int | None):
            raise DataError(
                where=table.where,
                expected=f"names or whole numbers of labels in column {column!r}",
                found=f"{value!r} in row {row}",
                do="name another with --label_column",
            )
    known = {value for value in values if value not in MISSING}
    return tuple(map(str, sorted(known, key=lambda value: (isinstance(value, str), value))))


def _texts(table: Table, label_column: str) -> list[str]:
    columns = [
        name
        for name, values in table.columns.items()
        if name not in (label_column, "idx") and all(isinstance(value, str | None) for value in values)
    ]
    if len(columns) not in (1, 2):
        raise DataError(
            where=table.where,
            expected="one column of text, or two for pairs",
            found=", ".join(columns) or "none",
            do="name them with --text_columns",
        )
    return columns


def _other_metrics(expected: str, metrics: Sequence[str]) -> ConfigError:
    return ConfigError(where="--metrics", expected=expected, found=", ".join(metrics), do="give others or none")
