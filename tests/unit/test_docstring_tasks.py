"""The built-in tasks: what is done to sentences, and that splits share none, are balanced, and always the same."""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from hfrep.data.cache import default_cache
from hfrep.tasks import docstrings
from hfrep.tasks.docstrings import DOCSTRING_TASKS, MOST_OF_A_FILE, docstring_tasks_folder
from hfrep.tasks.prose import Exercise, sentence_order, similarity, verb, word_order
from hfrep.tasks.reading import open_task
from hfrep.tasks.settings import TaskSettings

PARTS = ("argparse", "asyncio", "calendar", "collections", "concurrent", "ctypes", "datetime", "decimal", "email")
SENTENCE = "Return the number of old houses that stand in the narrow street."


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The documents of some files of the standard library, where the corpus is looked for."""
    from hfrep.data.docstrings import documents

    library = Path(os.__file__).parent
    sources = [path for part in PARTS for path in (library / f"{part}.py", *sorted((library / part).rglob("*.py")))]
    sources += sorted(library.glob("[f-z]*.py"))
    path = tmp_path_factory.mktemp("corpus") / "documents.txt"
    path.write_text("".join(f"{document}\n\n" for document in documents(sources)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(corpus, tmp_path_factory):
    """The tasks made of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(docstrings, "docstrings_file", lambda cache: corpus)
        return docstring_tasks_folder(tmp_path_factory.mktemp("tasks"))


def rows(folder, task, split):
    return [json.loads(line) for line in (folder / task / f"{split}.jsonl").read_text().splitlines()]


def made(make, *sentences, others=("zero",)):
    """What comes of sentences in ten draws."""
    return [make(sentences, random.Random(seed), others) for seed in range(10)]


def test_word_order():
    """Only lower-case words move, among their own places, and never to where they all were."""
    examples = made(word_order, SENTENCE)
    assert {example.label for example in examples} == {"shuffled", "written"}
    for example in examples:
        (text,) = example.texts
        words = text.split()
        assert (words[0], words[-1]) == ("Return", "street.")
        assert sorted(words) == sorted(SENTENCE.split())
        assert (text == SENTENCE) == (example.label == "written")


def test_word_order_needs_words_to_shuffle():
    """Three different plain words have too few orders."""
    assert set(made(word_order, "Return X, or the the the Y, of Z.")) == {None}


def test_sentence_order():
    """Two sentences as they were, or the other way round, and the label says which."""
    examples = made(sentence_order, "One.", "Two.")
    assert {(example.texts, example.label) for example in examples} == {
        (("One.", "Two."), "written"),
        (("Two.", "One."), "swapped"),
    }


@pytest.mark.parametrize(
    ("sentence", "label"),
    [(SENTENCE, "return"), (SENTENCE.replace("Return", "Computes"), "compute"), ("The house is old.", None)],
)
def test_verb(sentence, label):
    """The first word is the label, also in the third person, and is not in the text."""
    example = verb((sentence,), random.Random(0), ())
    assert example is None if label is None else (example.label, *example.texts) == (label, sentence.split(" ", 1)[1])


def test_similarity():
    """The value is five times the share of words that are where they were; the others are replaced."""
    examples = made(similarity, SENTENCE)
    words = SENTENCE.split()
    for example in examples:
        sentence, copy = example.texts
        left = [one == other for one, other in zip(words, copy.split(), strict=True)]
        assert sentence == SENTENCE
        assert example.label == pytest.approx(5 * sum(left) / len(words))
        assert {word for word, same in zip(copy.split(), left, strict=True) if not same} <= {"zero"}
    assert len({example.label for example in examples}) >= 5
    assert made(similarity, SENTENCE, others=words[:1])[0].label > 0, "a word replaced by itself is left"


@pytest.mark.parametrize(
    ("number", "most", "passage"),
    [
        (1, 3, ("One two three.",)),
        (2, 3, ("One two three.", "Four five!")),
        (3, 3, None),
        (3, 4, ("One two three.", "Four five!", "Six seven eight? nine.")),
        (4, 4, None),
        (1, 2, None),
    ],
)
def test_passage(number, most, passage):
    """The first sentences of a paragraph, if there are as many and each is of a length that is asked for."""
    paragraph = "One two three. Four five! Six seven eight? nine."
    assert Exercise(number, 2, most, sentence_order).passage(paragraph) == passage


@pytest.mark.parametrize("name", DOCSTRING_TASKS)
def test_splits_share_nothing(folder, name):
    """No text occurs in both splits or in two examples of one; there are many of both."""
    task = DOCSTRING_TASKS[name]
    texts = {
        split: [row[column].lower() for row in rows(folder, name, split) for column in task.text_columns]
        for split in ("train", "validation")
    }
    assert not set(texts["train"]) & set(texts["validation"])
    assert len(texts["validation"]) >= 40
    assert len(texts["train"]) >= 3 * len(texts["validation"])
    if name != "similarity":  # where a copy may be what it is a copy of
        assert max(Counter(texts["train"] + texts["validation"]).values()) == 1


def test_splits_are_of_different_files(folder, corpus):
    """A document gives examples to one split only, and few, so that no file is what a task is about."""
    documents = corpus.read_text(encoding="utf-8").split("\n\n")
    of_file: Counter[tuple[int, str]] = Counter()
    for split in ("train", "validation"):
        for row in rows(folder, "sentence_order", split):
            pair = [row["sentence1"], row["sentence2"]]
            text = " ".join(pair if row["label"] == "written" else pair[::-1])
            of_file[next(number for number, document in enumerate(documents) if text in document), split] += 1
    assert max(of_file.values()) <= MOST_OF_A_FILE
    assert len({number for number, _ in of_file}) == len(of_file)


def test_number_of_rows_and_balance(folder, monkeypatch, corpus, tmp_path):
    """Where there are enough sentences, as many of each label as asked for, and no more."""
    monkeypatch.setattr(docstrings, "docstrings_file", lambda cache: corpus)
    monkeypatch.setattr(docstrings, "ROWS", {"validation": 8, "train": 40})
    few = docstring_tasks_folder(tmp_path)
    for name, task in DOCSTRING_TASKS.items():
        counts = Counter(row["label"] for row in rows(few, name, "train"))
        assert counts.total() == 40
        if task.labels is not None:
            assert counts == dict.fromkeys(task.labels, 40 // len(task.labels))
    values = [row["label"] for row in rows(folder, "similarity", "train")]
    assert np.histogram(values, 5, (0, 5))[0].min() > len(values) / 10


def test_same_examples_for_every_hash_seed(folder, corpus, tmp_path):
    """Another process, with another hash seed, makes the same files."""
    script = (
        "import sys; from pathlib import Path; from hfrep.tasks import docstrings;"
        "docstrings.docstrings_file = lambda cache: Path(sys.argv[1]);"
        "docstrings.docstring_tasks_folder(Path(sys.argv[2]))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", script, str(corpus), str(tmp_path)], env=environment, check=True)
    for name in DOCSTRING_TASKS:
        for split in ("train", "validation"):
            assert rows(tmp_path / folder.name, name, split) == rows(folder, name, split)


def test_opened_as_any_other_task(folder, monkeypatch):
    """By name, with no setting; the folder is made once."""
    monkeypatch.setattr("hfrep.tasks.reading.docstring_tasks_folder", lambda cache: folder)
    settings = TaskSettings()
    assert settings.names == list(DOCSTRING_TASKS)
    for name in settings.names:
        data = open_task(name, settings)
        assert data.notes == ()
        for split in ("train", "validation"):
            stored = rows(folder, name, split)
            task = data.task
            labels = [row["label"] if task.labels is None else task.labels.index(row["label"]) for row in stored]
            assert data.splits[split].targets == pytest.approx(np.array(labels))
            assert data.splits[split].texts[0] == [row[task.text_columns[0]] for row in stored]


@pytest.mark.slow
def test_tasks_of_the_whole_corpus_are_neither_trivial_nor_hopeless():
    """Words alone say something about each class, and not nearly all; no length is beyond a small model."""
    docstring_tasks_folder(default_cache())
    for name, lowest, highest in (("word_order", 0.6, 0.8), ("sentence_order", 0.65, 0.85), ("verb", 0.45, 0.7)):
        data = open_task(name, TaskSettings())
        train, validation = data.splits["train"], data.splits["validation"]
        assert len(train) == docstrings.ROWS["train"]
        assert len(validation) >= 480
        for split in (train, validation):
            assert np.ptp(np.bincount(split.targets)) == 0
            assert max(len(text.split()) for column in split.texts for text in column) <= 24
        # A word tells which of the two texts it is in.
        texts = [
            [
                " ".join(f"{place}{word}" for place, text in enumerate(row) for word in text.split())
                for row in zip(*split.texts, strict=True)
            ]
            for split in (train, validation)
        ]
        words = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+"), LogisticRegression(C=10, max_iter=1000)
        )
        score = words.fit(texts[0], train.targets).score(texts[1], validation.targets)
        assert lowest < score < highest
