"""Documents of a Hub dataset, map-style or written to disk once as they arrive."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from hfrep.data.cache import prepared
from hfrep.data.local import read
from hfrep.errors import DataError
from hfrep.network import hub_reachable

Opened = tuple[str, Callable[[], Iterator[str]]]


def open_dataset(name: str, *, column: str, stream_to: Path | None, max_documents: int | None) -> Opened:
    """Fingerprint and documents of the training split of ``org/name[:config]``.

    Args:
        stream_to: cache folder to write the documents to as they arrive; None to download the dataset first.
        max_documents: of a stream, how many are written.

    Raises:
        DataError: it cannot be had, or lacks the column.
    """
    if not hub_reachable() and stream_to is None:
        return _open_map_style(name, column, offline=True)
    if stream_to is None:
        return _open_map_style(name, column, offline=False)
    key = hashlib.sha256(f"{name} {column} {max_documents}".encode()).hexdigest()[:16]
    folder = prepared(stream_to / f"stream-{key}", lambda empty: _write_stream(empty, name, column, max_documents))
    return key, lambda: read(folder / "documents.jsonl", separator="line", column="text")


def _open_map_style(name: str, column: str, *, offline: bool) -> Opened:
    import datasets  # takes a second to import, and most runs need it not

    identifier, _, config = name.partition(":")
    mode = datasets.DownloadConfig(local_files_only=True) if offline else None
    try:
        dataset = datasets.load_dataset(identifier, config or None, split="train", download_config=mode)
    except (OSError, ValueError, RuntimeError) as error:
        raise _not_had(name, offline, error) from error
    _require_column(name, column, dataset.column_names)
    return str(dataset._fingerprint), lambda: (row[column] or "" for row in dataset)


def _write_stream(folder: Path, name: str, column: str, max_documents: int | None) -> None:
    import datasets

    if not hub_reachable():
        raise _not_had(name, True, None)
    identifier, _, config = name.partition(":")
    try:
        stream = datasets.load_dataset(identifier, config or None, split="train", streaming=True)
        with open(folder / "documents.jsonl", "w", encoding="utf-8") as file:
            for number, row in enumerate(stream):
                if number == max_documents:
                    return
                _require_column(name, column, list(row))
                file.write(json.dumps({"text": row[column] or ""}) + "\n")
    except (ValueError, RuntimeError) as error:
        raise _not_had(name, False, error) from error


def _require_column(name: str, column: str, columns: list[str]) -> None:
    if column not in columns:
        raise DataError(
            where=name,
            expected=f"a column {column!r}",
            found=", ".join(columns),
            do="name one of these with --text_column",
        )


def _not_had(name: str, offline: bool, error: Exception | None) -> DataError:
    reason = "not in the cache, and the Hub out of reach" if offline else str(error).splitlines()[0]
    return DataError(
        where=f"--corpus {name}",
        expected="docstrings, a path that exists, or a dataset of the Hub",
        found=reason,
        do="correct the name, or fetch the dataset while there is a network",
    )
