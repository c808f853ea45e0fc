"""Documents in local files: ``.txt``, ``.jsonl``, ``.csv`` (each also ``.gz``) and ``.parquet``, or a folder."""

import codecs
import csv
import gzip
import hashlib
import io
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as parquet

from hfrep.errors import ConfigError, DataError

FORMATS = ("txt", "jsonl", "csv", "parquet")
_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can escape one without its partner; it has no UTF-8


_TEXT_TYPES = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)


def looks_like_a_path(name: str) -> bool:
    """Whether `name` can only be meant as a path: a Hub id has one slash at most and no file's ending."""
    return (
        _format(Path(name)) is not None
        or name.startswith((".", "/", "~"))
        or name.count("/") > 1
        or os.sep == name[-1:]
    )


def find_files(path: Path) -> list[Path]:
    """`path` itself, or all supported files below it in the order of their paths.

    Raises:
        DataError: there are none.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and _format(file))
        if not files:
            raise _unreadable(path, f"files ending in {', '.join(FORMATS)} (also .gz)", "none below it")
        return files
    if not path.is_file():
        raise _unreadable(path, "a file or a folder", "nothing there")
    if _format(path) is None:
        raise _unreadable(path, f"a file ending in {', '.join(FORMATS)} (also .gz)", path.suffix or "no ending")
    return [path]


def content_hash(files: list[Path]) -> str:
    """Hex digest of the formats and bytes of `files`, in order; not of their names."""
    digest = hashlib.sha256()
    for file in files:
        if file.stat().st_size == 0:
            raise _unreadable(file, "text", "an empty file")
        digest.update(f"{_format(file)} ".encode())
        with open(file, "rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def read_all(files: list[Path], *, separator: str, column: str) -> Iterator[str]:
    """The documents of `files`, one file after the other; see `read`."""
    for file in files:
        yield from read(file, separator=separator, column=column)


def read(file: Path, *, separator: str, column: str) -> Iterator[str]:
    """The documents of a file; `separator` for text, `column` for the other formats.

    Raises:
        DataError: it is not what its name says, or not UTF-8, with the line; or it lacks the column.
    """
    readers: dict[str, Callable[[], Iterator[str]]] = {
        "txt": lambda: read_text(file, separator),
        "jsonl": lambda: _read_jsonl(file, column),
        "csv": lambda: _read_csv(file, column),
        "parquet": lambda: _read_parquet(file, column),
    }
    return readers[_format(file) or "txt"]()


def read_text(file: Path, separator: str) -> Iterator[str]:
    """Documents of a text file; see ``--document_separator``.

    A line that a regular expression matches begins a document and belongs to it.
    """
    if separator == "line":
        yield from _lines(file)
        return
    if separator == "file":
        yield "".join(_lines(file))
        return
    begins = None if separator == "blank" else _pattern(separator)
    document: list[str] = []
    for line in _lines(file):
        ends = not line.strip() if begins is None else begins.search(line.rstrip("\n")) is not None
        if ends and document:
            yield "".join(document)
            document = []
        document.append(line)
    yield "".join(document)


def _lines(file: Path) -> Iterator[str]:
    number = 0
    try:
        with _open(file) as content:
            for number, line in enumerate(content, 1):
                if b"\0" in line:
                    raise _unreadable(file, "text", f"a zero byte in line {number}: a binary file")
                yield line.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").decode("utf-8")
    except UnicodeDecodeError:
        raise _unreadable(file, "UTF-8", f"other bytes in line {number}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(file, "a readable file", f"{error} after line {number}") from None


def read_objects(file: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """The JSON objects of a ``.jsonl`` file, each with the number of its line; blank lines are passed over.

    Raises:
        DataError: a line holds something else, with its number.
    """
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise _unreadable(file, "a JSON object a line", f"something else in line {number}") from None
        if not isinstance(row, dict):
            raise _unreadable(file, "a JSON object a line", f"a {type(row).__name__} in line {number}")
        yield number, row


def _read_jsonl(file: Path, column: str) -> Iterator[str]:
    for number, row in read_objects(file):
        yield _text(file, row, column, f"line {number}")


def _read_csv(file: Path, column: str) -> Iterator[str]:
    csv.field_size_limit(1 << 30)
    rows = csv.DictReader(_lines(file))
    try:
        for row in rows:
            yield _text(file, row, column, f"line {rows.line_num}")
    except csv.Error as error:
        raise _unreadable(file, "a CSV file", f"{error} after line {rows.line_num}") from None


def _read_parquet(file: Path, column: str) -> Iterator[str]:
    try:
        table = parquet.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(file, "a parquet file", str(error).splitlines()[0]) from None
    if column not in table.schema_arrow.names:
        raise _no_column(file, column, table.schema_arrow.names)
    kind = table.schema_arrow.field(column).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not any(is_text(kind) for is_text in _TEXT_TYPES):
        raise _unreadable(file, f"text in column {column}", str(kind))
    try:
        for batch in table.iter_batches(columns=[column]):
            yield from (value for value in batch.column(0).to_pylist() if value is not None)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(file, "a parquet file", str(error).splitlines()[0]) from None


def _text(file: Path, row: dict[str, object], column: str, where: str) -> str:
    if column not in row:
        raise _no_column(file, column, [str(name) for name in row])
    value = row[column]
    if value is not None and not isinstance(value, str):
        raise _unreadable(file, f"text in column {column}", f"{type(value).__name__} in {where}")
    if value and not value.isascii() and _SURROGATE.search(value):
        raise _unreadable(file, "UTF-8", f"half of a character in {where}")
    return value or ""


def _open(file: Path) -> BinaryIO | io.BufferedReader | gzip.GzipFile:
    return gzip.open(file, "rb") if file.suffix == ".gz" else open(file, "rb")


def _format(file: Path) -> str | None:
    ending = file.with_suffix("").suffix if file.suffix == ".gz" else file.suffix
    ending = ending.removeprefix(".")
    return ending if ending in FORMATS and not (ending == "parquet" and file.suffix == ".gz") else None


def _pattern(separator: str) -> re.Pattern[str]:
    try:
        return re.compile(separator)
    except re.error as error:
        raise ConfigError(
            where="document_separator",
            expected="blank, line, file or a regular expression",
            found=f"{separator!r} ({error})",
            do="correct the expression",
        ) from None


def _no_column(file: Path, column: str, columns: list[str]) -> DataError:
    return DataError(
        where=str(file),
        expected=f"a column {column!r}",
        found=", ".join(columns) or "no columns",
        do="name one of these with --text_column",
    )


def _unreadable(file: Path, expected: str, found: str) -> DataError:
    return DataError(
        where=str(file), expected=expected, found=found, do="correct the file, or the setting that names it"
    )
