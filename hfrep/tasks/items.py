"""The items of a task that is prompted: rows with all their columns, and the number of the right choice of each.

They are read from where the tasks of adaptation are: folders of ``<prompt>/<split>`` files, named files, the built-in
tasks, or the Hub. Labels are matched by name where the source knows their names.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hfrep.data.cache import default_cache
from hfrep.data.order import Integers
from hfrep.errors import ConfigError, DataError
from hfrep.settings import setting
from hfrep.tasks.docstrings import DOCSTRING_TASKS, docstring_tasks_folder
from hfrep.tasks.glue import GLUE, HUB_DATASET
from hfrep.tasks.prompt import Prompt, Row, evaluated, known_prompts, open_prompt, read_prompt
from hfrep.tasks.reading import PURPOSE_CAP, drawn_rows, has_utf8
from hfrep.tasks.tables import SUBSET, Source, Table, folder_source, hub_source, read_table
from hfrep.tasks.targets import targets_of

A_LOOK = 200  # items of each built-in task, so that a first look takes less than a minute


@dataclass(frozen=True, kw_only=True)
class ItemSettings:
    """Which prompts, and where their items are."""

    task: list[str] | None = setting(
        None,
        f"prompts of this package: one or more of {', '.join(known_prompts())}; default: those of the built-in tasks",
        aliases=("task_name",),
    )
    prompt: list[str] | None = setting(None, "files of prompts of your own (.yaml), beside --task or instead")
    data: list[str] | None = setting(
        None,
        "folders with <prompt>/<split>.parquet, .jsonl, .tsv or .csv, the first that has it; default: the Hub",
        kind="operation",
    )
    train_file: str | None = setting(None, "examples to show for a prompt of your own", kind="operation")
    validation_file: str | None = setting(None, "items to ask for a prompt of your own", kind="operation")
    max_items: int | None = setting(
        None,
        f"items of a task that are asked, the same ones in every run; default: all, or {A_LOOK} of the built-in tasks "
        "where none is named",
        aliases=("max_eval_samples", "limit"),
    )

    def __post_init__(self) -> None:
        if self.max_items is not None and self.max_items < 1:
            raise ConfigError(where="--max_items", expected="1 or more", found=str(self.max_items), do="raise it")
        for name in ("task", "prompt", "data"):
            if getattr(self, name) == []:
                raise ConfigError(where=f"--{name}", expected="one or more", found="none", do="name some")
        if self.train_file is not None and self.validation_file is None:
            raise ConfigError(
                where="--validation_file", expected="the items to ask", found="--train_file alone", do="give it too"
            )
        if self.validation_file is not None and (len(self.prompt or ()) != 1 or self.task or self.data):
            raise ConfigError(
                where="--validation_file",
                expected="one file of --prompt, and neither --task nor --data",
                found=f"{len(self.prompt or ())} prompts, {len(self.task or ())} tasks",
                do="start once for each",
            )

    @property
    def most(self) -> int | None:
        """Items of a task that are asked; None for all."""
        return A_LOOK if self.max_items is None and not (self.task or self.prompt) else self.max_items

    def prompts(self) -> list[Prompt]:
        """Those asked for, tasks first, each once.

        Raises:
            ConfigError: there is no such prompt, or two of one name.
            DataError: a file is no prompt.
        """
        names = self.task or ([] if self.prompt else [name for name in DOCSTRING_TASKS if name in known_prompts()])
        prompts = [open_prompt(name) for name in dict.fromkeys(names)]
        prompts += [read_prompt(Path(file)) for file in self.prompt or ()]
        for position, prompt in enumerate(prompts):
            if prompt.name in {other.name for other in prompts[:position]}:
                raise ConfigError(where="--prompt", expected="one prompt of a name", found=prompt.name, do="rename one")
        return prompts


@dataclass(frozen=True, eq=False)
class Items:
    """Of one split.

    Attributes:
        rows: n rows, by column.
        targets: int64 [n], number of the right choice; 0 for all where there are no choices.
        ids: int64 [n], position of each in its split.
    """

    rows: Sequence[Row]
    targets: Integers
    ids: Integers

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: NDArray[np.int64]) -> "Items":
        """The items at `chosen`, int64 [m]."""
        return Items([self.rows[row] for row in chosen], self.targets[chosen], self.ids[chosen])


@dataclass(frozen=True, eq=False)
class PromptData:
    """A prompt with its items.

    Attributes:
        pool: what demonstrations are taken from.
        items: what is asked.
        asked_from_pool: the pool is the split that the items are of, so that they must not be shown to themselves.
        notes: what a reader of the scores should know, as sentences.
        fingerprint: hex digest of all rows and targets.
    """

    prompt: Prompt
    pool: Items
    items: Items
    asked_from_pool: bool
    notes: tuple[str, ...]
    fingerprint: str


def open_items(prompt: Prompt, settings: ItemSettings) -> PromptData:
    """The items of `prompt`, and what can be shown for it.

    Raises:
        DataError: they cannot be had, or lack a column that the prompt reads, or the right choice.
    """
    source = _source(prompt, settings)
    notes = []
    table, is_subset = source.read(prompt.reported)
    if is_subset:
        notes.append(f"{prompt.reported}: {len(table):,} rows of {prompt.reported}{SUBSET}, not the whole split")
    items = whole = _items(table, prompt)
    shown = next((name for name in prompt.shown if {name, name + SUBSET} & set(source.splits)), None)
    if shown is None:
        notes.append(f"demonstrations: other items of {prompt.reported}, since there is no {' or '.join(prompt.shown)}")
    most = settings.most
    if most is not None and most < len(items):
        notes.append(f"{prompt.reported}: {most:,} of {len(items):,} items, by a hash of their position")
        items = items.take(drawn_rows(len(items), most, 0, PURPOSE_CAP))
    asked_from_pool = shown in (None, prompt.reported)
    pool = whole if asked_from_pool else _items(source.read(str(shown))[0], prompt)
    digest = hashlib.blake2b(digest_size=16)
    for part in (pool, items):
        for row in part.rows:
            digest.update(json.dumps(row, default=str, sort_keys=True).encode())
        digest.update(part.targets.tobytes())  # the same numbers mean others where a file names its labels otherwise
    return PromptData(prompt, pool, items, asked_from_pool, tuple(notes), digest.hexdigest())


def _source(prompt: Prompt, settings: ItemSettings) -> Source:
    if settings.validation_file is not None:
        files = {prompt.shown[0]: settings.train_file, prompt.reported: settings.validation_file}
        given = {split: Path(file) for split, file in files.items() if file is not None}
        return Source(prompt.name, {split: cache(partial(read_table, file)) for split, file in given.items()})
    if prompt.task in DOCSTRING_TASKS:
        return folder_source(docstring_tasks_folder(default_cache()) / prompt.task)
    folders = [Path(folder).expanduser() for folder in settings.data or ()]
    for name in filter(None, (prompt.name, prompt.task)):
        for folder in folders:
            if (folder / name).is_dir():
                return folder_source(folder / name)
    if folders:
        found = f"none in {', '.join(map(str, folders))}"
        raise DataError(
            where="--data", expected=f"a folder {prompt.name!r}", found=found, do="correct --data or --task"
        )
    if prompt.task in GLUE:
        return hub_source(HUB_DATASET, prompt.task)
    if prompt.dataset:
        return hub_source(*prompt.dataset)
    raise ConfigError(
        where=f"prompt {prompt.name}",
        expected="items to ask",
        found="neither --validation_file nor --data, and no dataset in the prompt",
        do="give one of them",
    )


def _items(table: Table, prompt: Prompt) -> Items:
    if missing := sorted(prompt.names - prompt.may_lack - set(table.columns)):
        raise DataError(
            where=f"prompt {prompt.name}",
            expected=f"fields that {table.where} has ({', '.join(table.columns)})",
            found=f"{{{{{missing[0]}}}}}",
            do="correct the template, or the columns of the file",
        )
    rows = [dict(zip(table.columns, values, strict=True)) for values in zip(*table.columns.values(), strict=True)]
    for name in sorted(prompt.names & set(table.columns)):
        for number, value in enumerate(table.columns[name], 1):
            if isinstance(value, str) and not value.isascii() and not has_utf8(value):
                found = f"half of a character in row {number}"
                raise DataError(where=table.where, expected=f"UTF-8 in column {name!r}", found=found, do="correct it")
    return Items(rows, _targets(table, rows, prompt), np.arange(len(rows)))


def _targets(table: Table, rows: Sequence[Row], prompt: Prompt) -> Integers:
    if prompt.scored != "choices":
        return np.zeros(len(rows), np.int64)
    if prompt.labels is not None and prompt.label in table.columns:
        targets = targets_of(table, prompt.label, prompt.labels)
        if targets is None:
            raise DataError(
                where=table.where,
                expected=f"labels in column {prompt.label!r}",
                found="none",
                do="give a split that has them",
            )
        return targets.astype(np.int64)
    return np.array([_number(evaluated(prompt.label, row, table.where), table, at) for at, row in enumerate(rows, 1)])


def _number(value: Any, table: Table, row: int) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = -1
    if number < 0 or (isinstance(value, float) and number != value):
        raise DataError(
            where=table.where,
            expected="the number of the right choice, counted from 0",
            found=f"{value!r} in row {row}",
            do="correct the file, or `label` in the prompt",
        )
    return number
