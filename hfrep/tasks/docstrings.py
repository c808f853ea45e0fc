"""Built-in tasks, one of each kind, made from the prose of the installed packages: they need no network and no data.

``word_order``
    One sentence: is it as it was written, or are the plain words in it in another order?
``sentence_order``
    A pair: do the first two sentences of a paragraph come as they were written, or the second one first? It is the
    sentence-order prediction that ALBERT is pretrained with (Lan et al. 2020, arXiv:1909.11942, section 3.1).
``verb``
    Eight classes: which verb began the sentence whose other words are given?
``similarity``
    A regression on pairs, scored as STS-B is: a sentence, and the same with some of its words replaced by words of
    other sentences; five times the share of words that are left is to be predicted.

Training and validation come from different source files and share no sentence. A model that was pretrained on the
built-in corpus has met most sentences of both, as they were written and without what is asked of them here.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from hfrep.data.cache import prepared
from hfrep.data.docstrings import docstrings_file, fingerprint
from hfrep.data.local import read_text
from hfrep.tasks.base import Task
from hfrep.tasks.prose import (
    VERBS,
    Example,
    Exercise,
    sentence_order,
    similarity,
    verb,
    word_order,
)

# Raised whenever other examples come out of the same corpus: it is part of the folder's name.
MAKER = 1
VALIDATION_SHARE = 0.15  # of source files
ROWS = {"validation": 500, "train": 1000}  # in this order: a sentence of the first is kept out of the second
MOST_OF_A_FILE = 8  # examples, so that no file is what a task is about
WORDS_FROM = 2000  # sentences that lend their words to others

Paragraphs = list[tuple[int, str]]  # with the numbers of their documents

_EXERCISES = {
    Task(
        name="word_order",
        title="word order",
        text_columns=("sentence",),
        labels=("shuffled", "written"),
        metrics=("accuracy",),
    ): Exercise(1, 6, 16, word_order),
    Task(
        name="sentence_order",
        title="sentence order",
        text_columns=("sentence1", "sentence2"),
        labels=("swapped", "written"),
        metrics=("accuracy",),
    ): Exercise(2, 4, 12, sentence_order),
    Task(
        name="verb",
        title="verb",
        text_columns=("sentence",),
        labels=VERBS,
        metrics=("accuracy",),
    ): Exercise(1, 6, 24, verb),
    Task(
        name="similarity",
        title="similarity",
        text_columns=("sentence1", "sentence2"),
        labels=None,
        metrics=("pearson", "spearman"),
    ): Exercise(1, 6, 12, similarity),
}
DOCSTRING_TASKS = {task.name: task for task in _EXERCISES}


def docstring_tasks_folder(cache: Path) -> Path:
    """A folder with ``<task>/<split>.jsonl`` for each of the tasks; made once per `cache`, in seconds.

    Raises:
        DataError: `cache` cannot be written.
    """
    return prepared(cache / f"docstring-tasks-{fingerprint()[:16]}-{MAKER}", lambda folder: _write(folder, cache))


def _write(folder: Path, cache: Path) -> None:
    paragraphs: dict[str, Paragraphs] = {split: [] for split in ROWS}
    for number, document in enumerate(read_text(docstrings_file(cache), "blank")):
        split = "validation" if _place(document) < VALIDATION_SHARE else "train"
        paragraphs[split] += [(number, paragraph) for paragraph in document.splitlines()]
    for task, exercise in _EXERCISES.items():
        (folder / task.name).mkdir()
        taken: set[str] = set()
        for split, rows in ROWS.items():
            examples = _chosen(paragraphs[split], task, exercise, rows, taken)
            with open(folder / task.name / f"{split}.jsonl", "w", encoding="utf-8", newline="\n") as file:
                for example in examples:
                    row = dict(zip(task.text_columns, example.texts, strict=True)) | {"label": example.label}
                    file.write(json.dumps(row) + "\n")


def _chosen(paragraphs: Paragraphs, task: Task, exercise: Exercise, rows: int, taken: set[str]) -> Iterator[Example]:
    """`rows` examples, as many of each label, in an order that hangs on the hash of what they are made of.

    Args:
        taken: texts that examples have, or are made of, in lower case; grows.
    """
    passages = [(number, passage) for number, text in paragraphs if (passage := exercise.passage(text))]
    passages.sort(key=lambda passage: _place(" ".join(passage[1])))
    others = [word for _, passage in passages[:WORDS_FROM] for sentence in passage for word in sentence.split()]
    classes = len(task.labels or ("a number",))
    quota = rows // classes
    of_label: Counter[object] = Counter()
    of_file: Counter[int] = Counter()
    for number, passage in passages:
        if of_file[number] == MOST_OF_A_FILE:
            continue
        # A string seeds alike in every process and version; so an example hangs on its own sentences.
        example = exercise.make(passage, random.Random(" ".join(passage)), others)
        if example is None:
            continue
        label = None if task.labels is None else example.label
        told = {text.lower() for text in (*passage, *example.texts)}
        if of_label[label] < quota and not told & taken:
            of_label[label] += 1
            of_file[number] += 1
            taken |= told
            yield example
            if of_label.total() == quota * classes:
                return


def _place(text: str) -> float:
    """Where the text's hash falls in [0, 1)."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
