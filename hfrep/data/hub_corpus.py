"""Documents of a Hub dataset, map-style or written to disk once as they arrive."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from hfrep.data.cache import prepared
from hfrep.data.local import content_hash, read
from hfrep.errors import DataError
from hfrep.network import hub_reachable

Rows = TypeVar("Rows")
Opened = tuple[str, Callable[[], Iterator[str]]]


class DatasetName(NamedTuple):
    """What ``org/name[:config][@revision]`` says; None where it leaves a part out."""

    repository: str
    config: str | None
    revision: str | None

    @classmethod
    def parse(cls, name: str) -> "DatasetName":
        whole, _, revision = name.partition("@")
        repository, _, config = whole.partition(":")
        return cls(repository, config or None, revision or None)

    def load(self, **options: Any) -> Any:
        """What `datasets.load_dataset` gives."""
        import datasets  # takes a second to import, and most runs need it not

        return datasets.load_dataset(self.repository, self.config, revision=self.revision, **options)


def open_dataset(
    name: str, *, splits: Sequence[str], column: str, stream_to: Path | None, max_documents: int | None
) -> Opened:
    """Fingerprint and documents of ``org/name[:config][@revision]``, of the first of `splits` that it has.

    Args:
        stream_to: cache folder to write the documents to as they arrive; None to download the dataset first.
        max_documents: of a stream, how many are written.

    Raises:
        DataError: it cannot be had, or lacks the column.
    """
    if stream_to is None:
        fingerprint, rows = _load(name, splits, column)
        return fingerprint, lambda: _texts(name, rows, column)
    key = hashlib.sha256(f"{name} {splits} {column} {max_documents}".encode()).hexdigest()[:16]
    write = partial(_write_stream, name=name, splits=splits, column=column, max_documents=max_documents)
    file = prepared(stream_to / f"stream-{key}", write) / "documents.jsonl"
    return content_hash([file]), lambda: read(file, separator="line", column="text")


def _load(name: str, splits: Sequence[str], column: str) -> tuple[str, Iterable[Mapping[str, object]]]:
    with _told_as_not_had(name), offline_where_it_is():
        dataset = _first_split(splits, lambda split: DatasetName.parse(name).load(split=split))
    _require_column(name, column, dataset.column_names)
    return str(dataset._fingerprint), dataset.select_columns([column])


def _write_stream(folder: Path, *, name: str, splits: Sequence[str], column: str, max_documents: int | None) -> None:
    with open(folder / "documents.jsonl", "w", encoding="utf-8") as file:
        for number, text in enumerate(_texts(name, _stream(name, splits), column)):
            if number == max_documents:
                return
            file.write(json.dumps({"text": text}) + "\n")


def _stream(name: str, splits: Sequence[str]) -> Iterator[Mapping[str, object]]:
    with _told_as_not_had(name), offline_where_it_is():
        yield from _first_split(splits, lambda split: DatasetName.parse(name).load(split=split, streaming=True))


def _first_split(splits: Sequence[str], load: Callable[[str], Rows]) -> Rows:
    for split in splits[:-1]:
        try:
            return load(split)
        except ValueError:  # no such split, or another mistake, which the last one makes too
            continue
    return load(splits[-1])


def _texts(name: str, rows: Iterable[Mapping[str, object]], column: str) -> Iterator[str]:
    for row in rows:
        _require_column(name, column, list(row))
        text = row[column]
        if text is not None and not isinstance(text, str):
            raise DataError(
                where=f"--corpus {name}",
                expected=f"text in column {column}",
                found=type(text).__name__,
                do="name another with --text_column",
            )
        yield text or ""


@contextmanager
def offline_where_it_is() -> Iterator[None]:
    """Without a network `load_dataset` tries for 23 s before it looks into its cache, and has no argument for it."""
    import datasets

    datasets.logging.set_verbosity_error()
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or not hub_reachable()
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


@contextmanager
def _told_as_not_had(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        # What is had, but not so (another configuration or split), is told as the library tells it.
        had = isinstance(error, ValueError) or hub_reachable()
        reason = str(error).splitlines()[0] if had else "not in the cache, and the Hub out of reach"
        raise DataError(
            where=f"--corpus {name}",
            expected="docstrings, a path that exists, or a dataset of the Hub",
            found=reason,
            do="correct the name, or fetch the dataset while there is a network",
        ) from error


def _require_column(name: str, column: str, columns: list[str]) -> None:
    if column not in columns:
        raise DataError(
            where=name,
            expected=f"a column {column!r}",
            found=", ".join(columns),
            do="name one of these with --text_column",
        )
