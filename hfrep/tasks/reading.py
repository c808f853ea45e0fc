"""Tasks with their examples: GLUE, the built-in ones, or the user's own; what is held out of them, and the baseline.

GLUE is read from a folder, or from the Hub where it can be had; the built-in tasks are made from the installed
docstrings; an own task is read from files that are named, or from a folder of its own beside GLUE's. Whatever makes the
splits other than the official ones is told in `TaskData.notes`.
"""

import hashlib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache, partial
from pathlib import Path

import numpy as np

from hfrep.data.cache import default_cache
from hfrep.data.order import Integers, counter_hash
from hfrep.errors import DataError
from hfrep.tasks import TASKS
from hfrep.tasks.base import Split, Targets, Task, TaskData
from hfrep.tasks.docstrings import DOCSTRING_TASKS, docstring_tasks_folder
from hfrep.tasks.glue import DIAGNOSTIC, GLUE, HUB_DATASET, splits_to_predict
from hfrep.tasks.own import infer_task
from hfrep.tasks.settings import ALL, TaskSettings
from hfrep.tasks.tables import SUBSET, Source, Table, folder_source, hub_source, read_table
from hfrep.tasks.targets import renumbered, targets_of

MOST_HELD_OUT = 2000  # rows
# What a row's hash is for, apart from the purposes in hfrep.data.order.
PURPOSE_CAP, PURPOSE_HELD_OUT = 101, 102
QUORA_EMPTY = "qqp"  # two of its questions are empty in the official files: datasets#277


def open_task(name: str, settings: TaskSettings, *, test: bool = False) -> TaskData:
    """The task called `name`, with its splits ``train`` and those that are reported.

    Args:
        test: read the splits that are to be predicted too; for MNLI also the diagnostic set, as ``ax``, which is left
            out with a note where there is none.

    Raises:
        DataError: there is no such task, it cannot be had, or its rows are not as they should be.
    """
    source = _source(name, settings)
    task = TASKS.get(name)
    if task is None:
        train, _ = source.read("train")
        task = infer_task(
            name,
            train,
            text_columns=settings.text_columns,
            label_column=settings.label_column,
            metrics=settings.metrics,
        )
    reader = _Reader(task, settings)
    for split in ("train", *task.reported):
        reader.add(split, source)
    if test:
        for split in splits_to_predict(task):
            reader.add(split, source)
        if task is GLUE["mnli"]:
            reader.add_diagnostic()
    return reader.read(source.dataset)


def held_out(size: int, share: float, seed: int) -> tuple[Integers, Integers]:
    """Rows of a training split of `size` without a part of it, and this part: to choose settings and to stop early.

    Which rows are held out hangs on their position and `seed` alone. Both are int64 and ascending.

    Args:
        share: of the rows; at least 1 row and at most 2,000.

    Raises:
        DataError: there are not two rows.
    """
    if size < 2:
        raise DataError(
            where="train",
            expected="two rows or more, of which some are held out",
            found=str(size),
            do="give more of them, or raise --max_train_examples",
        )
    number = min(max(1, round(share * size)), MOST_HELD_OUT, size - 1)
    chosen = np.zeros(size, bool)
    chosen[drawn_rows(size, number, seed, PURPOSE_HELD_OUT)] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def drawn_rows(size: int, number: int, seed: int, purpose: int) -> Integers:
    """The first `number` of `size` rows in an order that hangs on `seed` alone, sorted."""
    return np.sort(np.argsort(counter_hash(seed, purpose, np.arange(size)), kind="stable")[:number])


def majority(train: Split, reported: Split, task: Task) -> Targets:
    """What one predicts who has seen the labels of `train` and no text: the most frequent one, or the mean value.

    Returns:
        The same number for each row of `reported`, int64 [n] or float32 [n].
    """
    assert train.targets is not None
    if task.labels is None:
        return np.full(len(reported), train.targets.mean(), np.float32)
    return np.full(len(reported), np.bincount(train.targets).argmax(), np.int64)


class _Reader:
    """Collects splits, and in what they are not the official ones."""

    def __init__(self, task: Task, settings: TaskSettings) -> None:
        self._task, self._settings = task, settings
        self._splits: dict[str, Split] = {}
        self._notes: list[str] = []

    def add(self, split: str, source: Source) -> None:
        table, is_subset = source.read(split)
        if is_subset:
            self._notes.append(f"{split}: {len(table):,} rows of {split}{SUBSET}, not the whole split")
        self._splits[split] = self._capped(split, self._examples(split, table))

    def add_diagnostic(self) -> None:
        try:
            source = _source(DIAGNOSTIC, self._settings)
            table, _ = source.read("test")
        except DataError as missing:
            self._notes.append(f"the diagnostic set is left out: {missing}")
        else:
            self._splits[DIAGNOSTIC] = self._examples("test", table)

    def read(self, dataset: str | None) -> TaskData:
        return TaskData(self._task, self._splits, tuple(self._notes), _fingerprint(self._splits), dataset)

    def _examples(self, split: str, table: Table) -> Split:
        task, learned = self._task, split in ("train", *self._task.reported)
        texts = tuple(_texts(table, column, empty=task.name == QUORA_EMPTY) for column in task.text_columns)
        targets = None
        if learned or task.label_column in table.columns:
            targets = targets_of(table, task.label_column, task.labels)
        if learned and targets is None:
            raise _wrong(table, f"labels in column {task.label_column!r}", "none")
        if learned and renumbered(table, task.label_column, task.labels):
            order = ", ".join(table.class_names[task.label_column])
            self._notes.append(f"{split}: labels numbered as {order} there, matched by name")
        return Split(texts, targets, _ids(table))

    def _capped(self, split: str, examples: Split) -> Split:
        settings = self._settings
        most = settings.max_train_examples if split == "train" else settings.max_eval_examples
        if split in ("train", *self._task.reported) and most is not None and most < len(examples):
            self._notes.append(f"{split}: {most:,} of {len(examples):,} rows, chosen by a hash of their position")
            examples = examples.take(drawn_rows(len(examples), most, 0, PURPOSE_CAP))
        if split == "train":
            self._require_two_classes(examples)
        return examples

    def _require_two_classes(self, train: Split) -> None:
        if self._task.labels is not None and train.targets is not None and np.ptp(train.targets) == 0:
            raise DataError(
                where=f"{self._task.name} train",
                expected="examples of two classes or more",
                found=f"only {self._task.labels[int(train.targets[0])]!r} in {len(train):,} rows",
                do="give others, or raise --max_train_examples",
            )


def _source(name: str, settings: TaskSettings) -> Source:
    if settings.train_file is not None:
        files = {"train": settings.train_file, "validation": settings.validation_file, "test": settings.test_file}
        given = {split: Path(file) for split, file in files.items() if file is not None}
        return Source(f"--task {name}", {split: cache(partial(read_table, file)) for split, file in given.items()})
    if name in DOCSTRING_TASKS:
        return folder_source(docstring_tasks_folder(default_cache()) / name)
    folder = None if settings.data is None else Path(settings.data).expanduser()
    if name not in (*GLUE, DIAGNOSTIC) and not (folder and (folder / name).is_dir()):
        raise _unknown(name, folder)
    return hub_source(HUB_DATASET, name) if folder is None else folder_source(folder / name)


def _unknown(name: str, folder: Path | None) -> DataError:
    known = [ALL, *TASKS, *(sorted(path.name for path in folder.glob("*/")) if folder else ())]
    nearest = get_close_matches(name, known, n=1, cutoff=0.0)[0]
    return DataError(
        where="--task",
        expected=f"{', '.join(dict.fromkeys(known))}, or a folder of that name in --data",
        found=name,
        do=f"did you mean {nearest}? Files of your own go to --train_file and --validation_file",
    )


def _texts(table: Table, column: str, *, empty: bool) -> list[str]:
    values = table.column(column)
    for row, text in enumerate(values, 1):
        if not isinstance(text, str | None):
            raise _wrong(table, f"text in column {column!r}", f"{text!r} in row {row}")
        if not empty and not (text and text.strip()):
            raise _wrong(table, f"text in column {column!r}", f"none in row {row}")
        if text and not text.isascii() and not has_utf8(text):
            raise _wrong(table, f"UTF-8 in column {column!r}", f"half of a character in row {row}")
    return [text or "" for text in values]


def has_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON can escape half of a surrogate pair
        return False
    return True


def _ids(table: Table) -> Integers:
    values = table.columns.get("idx")
    try:
        return np.arange(len(table)) if values is None else np.array([int(value) for value in values], np.int64)
    except (TypeError, ValueError):  # names of rows: positions do as well
        return np.arange(len(table))


def _fingerprint(splits: Mapping[str, Split]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, split in splits.items():
        digest.update(f"{name} {len(split)}".encode())
        for column in split.texts:
            for text in column:
                encoded = text.encode()
                digest.update(len(encoded).to_bytes(4, "little") + encoded)
        if split.targets is not None:
            digest.update(split.targets.tobytes())
    return digest.hexdigest()


def _wrong(table: Table, expected: str, found: str) -> DataError:
    return DataError(where=table.where, expected=expected, found=found, do="correct the file")
