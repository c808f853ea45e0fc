"""Corpora: where documents come from, and which of them are held out.

A corpus is the built-in one (``docstrings``), local files, or a dataset of the Hub. It gives its documents in a fixed
order, as often as asked, in bounded memory, with a fingerprint of what is read.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hfrep.data import hub_corpus, local
from hfrep.data.cache import default_cache
from hfrep.data.docstrings import docstrings_file, fingerprint
from hfrep.errors import ConfigError, DataError
from hfrep.settings import setting

BUILT_IN = "docstrings"


@dataclass(frozen=True, kw_only=True)
class ReadingSettings:
    """Which documents are read, and how."""

    # What was read is part of a run's identity by its fingerprint; a path may move.
    corpus: list[str] = setting(
        [BUILT_IN],
        "docstrings (built in), files or folders (.txt .jsonl .csv, also .gz; .parquet), or Hub ids "
        "org/name[:config][@revision]",
        kind="operation",
        aliases=("dataset_name", "train_file"),
    )
    text_column: str = setting("text", "column or key that holds the text")
    document_separator: str = setting(
        "blank", "what ends a document in .txt: blank (line), line, file, or a regular expression that its line matches"
    )
    streaming: bool = setting(False, "write a Hub dataset to the cache as it arrives", kind="operation")
    max_documents: int | None = setting(None, "documents read of each corpus, the first ones")
    cache_dir: str | None = setting(None, "folder for what is prepared once; default: ~/.cache/hfrep", kind="operation")

    def __post_init__(self) -> None:
        if self.max_documents is not None and self.max_documents < 1:
            found = str(self.max_documents)
            raise ConfigError(where="max_documents", expected="1 or more", found=found, do="raise it")


@dataclass(frozen=True, kw_only=True)
class CorpusSettings(ReadingSettings):
    """Which of them are trained on, and which held out."""

    corpus_weights: list[float] | None = setting(None, "share of rows of each corpus; default: every row once per pass")
    validation_corpus: list[str] | None = setting(
        None, "corpora to validate on; default: documents held out", kind="operation", aliases=("validation_file",)
    )
    validation_fraction: float = setting(0.01, "share of documents held out, chosen by a hash of their text")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.validation_fraction < 1:
            raise ConfigError(
                where="validation_fraction",
                expected="a share above 0 and below 1",
                found=str(self.validation_fraction),
                do="0.01 holds out one document in a hundred",
            )
        self.require_a_weight_each()
        if not all(0 < weight < math.inf for weight in self.corpus_weights or ()):
            found = ", ".join(str(weight) for weight in self.corpus_weights or ())
            raise ConfigError(where="corpus_weights", expected="weights above 0", found=found, do="leave a corpus out")

    def require_a_weight_each(self) -> None:
        """Refuse weights that are more or fewer than the corpora.

        Raises:
            ConfigError: they are.
        """
        if self.corpus_weights is not None and len(self.corpus_weights) != len(self.corpus):
            raise ConfigError(
                where="corpus_weights",
                expected=f"one weight per corpus ({len(self.corpus)})",
                found=str(len(self.corpus_weights)),
                do="give as many weights as corpora",
            )


@dataclass(frozen=True)
class Corpus:
    """Documents under a name.

    Attributes:
        name: what the user typed.
        fingerprint: hex digest of what is read and how.
        documents: begins a pass over the documents, in a fixed order; stripped, none empty.
    """

    name: str
    fingerprint: str
    documents: Callable[[], Iterator[str]]


def on_hub(name: str) -> bool:
    """Whether the corpus `name` is a dataset of the Hub: neither built in nor a path."""
    return name != BUILT_IN and not Path(name).exists() and not local.looks_like_a_path(name)


def public_name(name: str) -> str:
    """`name` without the folders that a path lies in; still a path where it was one, and not taken for a Hub id."""
    path = Path(name).expanduser()
    if name == BUILT_IN or on_hub(name):
        return name
    return f"{path.resolve().name}/" if path.is_dir() else path.name


def open_corpus(name: str, settings: ReadingSettings, *, splits: Sequence[str] = ("train",)) -> Corpus:
    """The corpus `name`: ``docstrings``, a path, or a Hub id, of which the first of `splits` that it has is read.

    Raises:
        DataError: it is not there or cannot be read; reading later may raise it too, with the line.
    """
    cache = Path(settings.cache_dir) if settings.cache_dir else default_cache()
    read: Callable[[], Iterator[str]]
    if name == BUILT_IN:
        facts, read = fingerprint(), partial(_built_in, cache)
    elif on_hub(name):
        facts, read = hub_corpus.open_dataset(
            name,
            splits=splits,
            column=settings.text_column,
            stream_to=cache if settings.streaming else None,
            max_documents=settings.max_documents,
        )
    else:
        files = local.find_files(Path(name).expanduser())
        facts = local.content_hash(files)
        read = partial(local.read_all, files, separator=settings.document_separator, column=settings.text_column)

    def documents() -> Iterator[str]:
        number = 0
        for text in read():
            text = text.strip()
            if text:
                yield text
                number += 1
            if number == settings.max_documents:
                return

    how = (facts, settings.text_column, settings.document_separator, settings.max_documents)
    return Corpus(name, hashlib.sha256(repr(how).encode()).hexdigest()[:32], documents)


def open_training_and_validation(settings: CorpusSettings) -> tuple[list[Corpus], list[Corpus]]:
    """The corpora to train on and those to validate on: given, or documents held out of the first.

    Raises:
        DataError: a corpus has only one document, so that none can be held out.
    """
    training = [open_corpus(name, settings) for name in settings.corpus]
    if settings.validation_corpus:
        return training, [_open_to_validate(name, settings) for name in settings.validation_corpus]
    split = [_split(corpus, settings.validation_fraction) for corpus in training]
    return [train for train, _ in split], [held for _, held in split]


def _open_to_validate(name: str, settings: CorpusSettings) -> Corpus:
    # A dataset that is also trained on has to have a split for validation.
    return open_corpus(name, settings, splits=("validation",) if name in settings.corpus else ("validation", "train"))


def _built_in(cache: Path) -> Iterator[str]:
    return local.read_text(docstrings_file(cache), "blank")


def _split(corpus: Corpus, fraction: float) -> tuple[Corpus, Corpus]:
    """A corpus without its held-out documents, and these: those whose hash is small, so that they never change.

    Where that would leave one side empty, the document with the smallest hash is held out.
    """

    def limit() -> float:
        smallest, largest = 1.0, -1.0
        for text in corpus.documents():
            smallest, largest = min(smallest, _place(text)), max(largest, _place(text))
            if smallest < fraction <= largest:  # after some 1/fraction documents
                return fraction
        if smallest >= largest:
            raise DataError(
                where=corpus.name,
                expected="two documents or more that differ, of which some are held out for validation",
                found="1" if smallest == largest else "0",
                do="give --validation_corpus, or another --document_separator",
            )
        return math.nextafter(smallest, 1.0)

    def trained() -> Iterator[str]:
        end = limit()
        return (text for text in corpus.documents() if _place(text) >= end)

    def held_out() -> Iterator[str]:
        end = limit()
        return (text for text in corpus.documents() if _place(text) < end)

    mark = f"{corpus.fingerprint}-{fraction:g}"
    return Corpus(corpus.name, f"{mark}-train", trained), Corpus(f"{corpus.name} (held out)", f"{mark}-held", held_out)


def _place(text: str) -> float:
    """Where the text's hash falls in [0, 1)."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
