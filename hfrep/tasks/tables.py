"""Labelled rows as they are stored: ``.parquet``, ``.jsonl``, ``.tsv`` and ``.csv`` files, or a dataset of the Hub.

A ``.tsv`` file is as GLUE's are: a header, tabs, and no quotes, so that a quotation mark is a character of the text.
"""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from hfrep.data import hub_corpus
from hfrep.data.local import read_objects, read_text
from hfrep.errors import DataError
from hfrep.network import hub_reachable

SUBSET = "_subset"


@dataclass(frozen=True)
class Table:
    """Rows of a split.

    Attributes:
        where: the file, or the dataset and split.
        columns: values by column, all of n rows; None where a row has none.
        class_names: of a column whose numbers stand for names, these, by number.
        typed: False where everything is text, numbers too.
    """

    where: str
    columns: Mapping[str, list[Any]]
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    typed: bool = True

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def column(self, name: str) -> list[Any]:
        """The values of a column.

        Raises:
            DataError: there is no such column, with those that there are.
        """
        if name not in self.columns:
            raise DataError(
                where=self.where,
                expected=f"a column {name!r}",
                found=", ".join(self.columns) or "no columns",
                do="rename one of these, or name columns of your own files with --text_columns and --label_column",
            )
        return self.columns[name]


@dataclass(frozen=True)
class Source:
    """Splits of a task, read when they are asked for.

    Attributes:
        where: the folder or dataset they are in.
        splits: what reads each, by name.
        dataset: ``org/name[:config]`` on the Hub; None of files.
    """

    where: str
    splits: Mapping[str, Callable[[], Table]]
    dataset: str | None = None

    def read(self, split: str) -> tuple[Table, bool]:
        """A split, or where there is only ``<split>_subset`` this, and whether it is only this.

        Raises:
            DataError: there is neither, with the splits that there are; or the split cannot be read.
        """
        for name in (split, split + SUBSET):
            if name in self.splits:
                return self.splits[name](), name != split
        raise DataError(
            where=self.where,
            expected=f"a split {split!r}",
            found=", ".join(sorted(self.splits)) or "none",
            do="add it, or give another folder or file",
        )


def folder_source(folder: Path) -> Source:
    """The splits in a folder, ``<split>.parquet``, ``.jsonl``, ``.tsv`` or ``.csv`` each.

    Raises:
        DataError: there is no such folder, or a split twice.
    """
    if not folder.parent.is_dir():
        raise DataError(where=str(folder.parent), expected="a folder", found="nothing there", do="correct --data")
    if not folder.is_dir():
        found = ", ".join(sorted(path.name for path in folder.parent.glob("*/"))) or "no folders"
        where = str(folder.parent)
        raise DataError(where=where, expected=f"a folder {folder.name!r}", found=found, do="correct --data or --task")
    files: dict[str, Path] = {}
    for file in sorted(path for path in folder.iterdir() if path.suffix in READERS):
        if file.stem in files:
            found = f"{files[file.stem].name} and {file.name}"
            raise DataError(where=str(folder), expected="one file for a split", found=found, do="remove one")
        files[file.stem] = file
    return Source(str(folder), {split: cache(partial(read_table, file)) for split, file in files.items()})


def hub_source(dataset: str, *config: str) -> Source:
    """A dataset on the Hub, or in the cache of an earlier download, by its name and that of its configuration.

    Raises:
        DataError: it cannot be had.
    """
    import datasets  # takes a second to import

    try:
        with hub_corpus.offline_where_it_is():
            had = datasets.load_dataset(dataset, *config)
    except (OSError, ValueError, RuntimeError) as error:
        found = str(error).splitlines()[0] if hub_reachable() else "not in the cache, and the Hub out of reach"
        raise DataError(
            where=" ".join(("--task", *config)),
            expected=f"the dataset {dataset}",
            found=found,
            do="give a folder that holds <task>/<split>.parquet with --data",
        ) from error
    where = " ".join((dataset, *config))
    splits = {str(split): partial(_of_dataset, where, split, rows) for split, rows in had.items()}
    return Source(where, splits, ":".join((dataset, *config)))


def read_table(file: Path) -> Table:
    """The rows of a file.

    Raises:
        DataError: there is no such file, it is not what its name says, or has no rows.
    """
    if not file.is_file():
        raise _unreadable(file, "a file", "nothing there")
    if file.suffix not in READERS:
        raise _unreadable(file, f"a file ending in {', '.join(READERS)}", file.suffix or "no ending")
    table = READERS[file.suffix](file)
    if not len(table):
        raise _unreadable(file, "labelled rows", "none")
    return table


def _read_parquet(file: Path) -> Table:
    try:
        stored = parquet.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(file, "a parquet file", str(error).splitlines()[0]) from None
    features = json.loads((stored.schema.metadata or {}).get(b"huggingface", b"{}"))
    features = features.get("info", {}).get("features", {})
    names = {
        column: tuple(feature["names"])
        for column, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and "names" in feature
    }
    return Table(str(file), stored.to_pydict(), names)


def _read_jsonl(file: Path) -> Table:
    rows = [row for _, row in read_objects(file)]
    columns = dict.fromkeys(name for row in rows for name in row)
    return Table(str(file), {name: [row.get(name) for row in rows] for name in columns})


def _read_delimited(file: Path, delimiter: str, quoting: Any) -> Table:
    csv.field_size_limit(1 << 30)
    rows = csv.reader(read_text(file, "line"), delimiter=delimiter, quoting=quoting)
    try:
        header = next(rows, [])
        columns: dict[str, list[str]] = {name: [] for name in header}
        if len(columns) < len(header):
            raise _unreadable(file, "a header that names each column once", ", ".join(header))
        for row in filter(None, rows):  # blank lines are passed over
            if len(row) != len(header):
                raise _unreadable(file, f"{len(header)} fields in a row", f"{len(row)} in line {rows.line_num}")
            for name, value in zip(header, row, strict=True):
                columns[name].append(value)
    except csv.Error as error:
        raise _unreadable(file, "rows of fields", f"{error} after line {rows.line_num}") from None
    return Table(str(file), columns, typed=False)


READERS: dict[str, Callable[[Path], Table]] = {
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
    ".tsv": partial(_read_delimited, delimiter="\t", quoting=csv.QUOTE_NONE),
    ".csv": partial(_read_delimited, delimiter=",", quoting=csv.QUOTE_MINIMAL),
}


def _of_dataset(where: str, split: str, rows: Any) -> Table:
    names = {name: tuple(feature.names) for name, feature in rows.features.items() if hasattr(feature, "names")}
    return Table(f"{where} {split}", {name: list(rows[name]) for name in rows.column_names}, names)


def _unreadable(file: Path, expected: str, found: str) -> DataError:
    return DataError(where=str(file), expected=expected, found=found, do="correct the file, or name another")
