"""What examples are labelled with, as numbers: labels matched by name, never by position.

Two copies of one data set may number the same labels differently (MNLI's are known for it). A column that knows the
names of its numbers, as those of the Hub do, is therefore renumbered; one that does not is taken to be numbered as the
task is.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hfrep.errors import DataError
from hfrep.tasks.base import Targets
from hfrep.tasks.tables import Table

MISSING = (None, -1)  # the Hub's datasets label what has no label with -1


def targets_of(table: Table, column: str, labels: Sequence[str] | None) -> Targets | None:
    """The numbers of the labels in `column`, int64 [n], or its values, float32 [n]; None where no row has any.

    Args:
        labels: names of the classes in the order of their numbers; None for values.

    Raises:
        DataError: no such column, or something else in one of its rows, with the row.
    """
    values = stored_values(table, column)
    if all(value in MISSING for value in values):
        return None
    if labels is None:
        return _numbers(table, column, values)
    return _label_numbers(table, column, values, labels)


def stored_values(table: Table, column: str) -> list[Any]:
    """The values of `column`; those of an untyped table as numbers where all of them are some, None where empty."""
    values = table.column(column)
    if table.typed:
        return values
    values = [value or None for value in values]
    for number in (int, float):
        try:
            return [None if value is None else number(value) for value in values]
        except ValueError:
            continue
    return values


def names_of(table: Table, column: str) -> tuple[str, ...] | None:
    """The names of a column's numbers; None where it does not know them, or calls them by number."""
    names = table.class_names.get(column)
    return None if names == tuple(map(str, range(len(names or ())))) else names


def renumbered(table: Table, column: str, labels: Sequence[str] | None) -> bool:
    """Whether `column` numbers the same labels in another order."""
    names = names_of(table, column)
    return names is not None and labels is not None and names != tuple(labels)


def _numbers(table: Table, column: str, values: list[Any]) -> NDArray[np.float32]:
    for row, value in enumerate(values, 1):
        if isinstance(value, str):
            raise _wrong(table, f"numbers in column {column!r}, since the task is a regression", repr(value), row)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise _wrong(table, f"a finite number in column {column!r}", repr(value), row)
    return np.array(values, np.float32)


def _label_numbers(table: Table, column: str, values: list[Any], labels: Sequence[str]) -> NDArray[np.int64]:
    number_of = {label: number for number, label in enumerate(labels)}
    names = names_of(table, column)
    numbers = np.empty(len(values), np.int64)
    for row, value in enumerate(values, 1):
        if value in MISSING:
            raise _wrong(table, f"a label in column {column!r}", f"none ({value})", row)
        number = _meant(value, number_of, labels if names is None else names)
        if number is None:
            found = f"{value} = {names[value]!r}" if names and value in range(len(names)) else repr(value)
            raise _wrong(table, f"one of the labels {', '.join(labels)} in column {column!r}", found, row)
        numbers[row - 1] = number
    return numbers


def _meant(value: Any, number_of: dict[str, int], names: Sequence[str]) -> int | None:
    """The task's number of a stored label, which is a name or a number among `names`."""
    if isinstance(value, str):
        return number_of.get(value)
    if not isinstance(value, int):
        return None
    if str(value) in number_of:  # the task's names are numbers themselves
        return number_of[str(value)]
    return number_of.get(names[value]) if 0 <= value < len(names) else None


def _wrong(table: Table, expected: str, found: str, row: int) -> DataError:
    return DataError(where=table.where, expected=expected, found=f"{found} in row {row}", do="correct the file")
