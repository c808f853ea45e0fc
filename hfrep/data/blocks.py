"""Documents → fixed-length rows on disk: tokenized once, nothing dropped, document and word boundaries kept.

A *segment* is the piece of a document that lies in one row, framed as the model expects it (``[CLS] … [SEP]``). A
document that does not fit goes on in the next row. What is left of a row when it is too short for a useful segment is
padding, whose share is reported.

On disk a folder holds two memory-mapped files, row after row:

- ``tokens.bin``: token ids, uint16 or uint32 [rows, sequence_length];
- ``marks.bin``: uint8 [rows, sequence_length], bit 0 where a segment starts, bit 1 where a word starts.

Words are those of the tokenizer's pre-tokenizer, so that they are right for byte-level BPE too.
"""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from hfrep.data.cache import prepared
from hfrep.data.corpus import Corpus
from hfrep.data.order import Integers
from hfrep.data.rows import Arrays
from hfrep.data.tokenizer import encode_documents, tokenizer_hash
from hfrep.errors import ConfigError, DataError
from hfrep.settings import setting

FORMAT = 1  # part of the cache key: raise it when the layout changes
SEGMENT_START, WORD_START = np.uint8(1), np.uint8(2)
SHORTEST_PIECE = 8  # content tokens; a shorter piece of a longer document teaches little
BATCH_CHARACTERS = 2_000_000  # text tokenized at a time: enough to keep every core busy, little enough to hold
SHORT_DOCUMENT = 64  # tokens; a median below it suggests that the separator cuts too finely


@dataclass(frozen=True, kw_only=True)
class BlockSettings:
    # A path may move and the same words stay: what a resume checks is the tokenizer's hash.
    tokenizer: str = setting("", "tokenizer: a folder or a Hub id", kind="operation", aliases=("tokenizer_name",))
    sequence_length: int = setting(
        128, "tokens per row, special tokens included", aliases=("max_seq_length", "block_size")
    )

    documents: Literal["isolate", "join"] = setting(
        "isolate", "isolate: documents packed into one row do not see each other; join: they do"
    )

    def __post_init__(self) -> None:
        if self.sequence_length < SHORTEST_PIECE + 2:
            raise ConfigError(
                where="sequence_length",
                expected=f"at least {SHORTEST_PIECE + 2} tokens",
                found=str(self.sequence_length),
                do="raise it",
            )


@dataclass(frozen=True)
class BlockFacts:
    """What was packed: counts in documents, rows and tokens."""

    documents: int
    rows: int
    content_tokens: int
    padding_tokens: int
    median_document: int
    sequence_length: int
    dtype: str
    pad_id: int

    @property
    def padding_share(self) -> float:
        return self.padding_tokens / (self.rows * self.sequence_length)


class Blocks:
    """`Rows` of one corpus: ``input_ids`` int64, ``segments`` int64, ``word_starts`` bool, each [n, sequence_length].

    ``segments`` numbers the segments of a row 1, 2, 3 …; padding is 0.
    """

    lengths = None

    def __init__(self, folder: Path) -> None:
        self.folder, self.fingerprint = folder, folder.name
        self.facts = BlockFacts(**json.loads((folder / "facts.json").read_text()))
        shape = (self.facts.rows, self.facts.sequence_length)
        self._tokens = np.memmap(folder / "tokens.bin", self.facts.dtype, "r", shape=shape)
        self._marks = np.memmap(folder / "marks.bin", np.uint8, "r", shape=shape)

    def __len__(self) -> int:
        return self.facts.rows

    def __reduce__(self) -> tuple[Any, ...]:
        return Blocks, (self.folder,)  # a worker process maps the files itself

    def take(self, indices: Integers) -> Arrays:
        tokens, marks = self._tokens[indices].astype(np.int64), self._marks[indices]
        segments = np.cumsum(marks & SEGMENT_START, axis=1, dtype=np.int64)
        return {
            "input_ids": tokens,
            "segments": np.where(tokens == self.facts.pad_id, 0, segments),
            "word_starts": (marks & WORD_START) != 0,
        }


def build_blocks(corpus: Corpus, tokenizer: PreTrainedTokenizerFast, sequence_length: int, cache: Path) -> Blocks:
    """The rows of `corpus`, tokenized and packed, or taken from `cache` where that was done before.

    Raises:
        DataError: no document, a tokenizer that cannot frame a segment, or a cache that cannot be written.
    """
    key = (FORMAT, corpus.fingerprint, tokenizer_hash(tokenizer), sequence_length)
    fingerprint = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]

    def build(folder: Path) -> None:
        with open(folder / "tokens.bin", "wb") as tokens, open(folder / "marks.bin", "wb") as marks:
            packer = _Packer(tokenizer, sequence_length, tokens, marks)
            for batch in _encoded(corpus.documents(), tokenizer):
                packer.add(*batch)
            facts = packer.finish()
        if facts.rows == 0:
            raise DataError(
                where=corpus.name,
                expected="text for at least one row",
                found="no document with a token in it",
                do="give a corpus with text in it",
            )
        (folder / "facts.json").write_text(json.dumps(asdict(facts)))

    return Blocks(prepared(cache / "blocks" / fingerprint, build))


def _encoded(
    documents: Iterator[str], tokenizer: PreTrainedTokenizerFast
) -> Iterator[tuple[Integers, Integers, Integers]]:
    """Token ids [t], word numbers [t] and document lengths [d] of each batch; the next one is encoded meanwhile."""
    with ThreadPoolExecutor(1) as ahead:
        waiting = None
        for batch in _batches(documents):
            encoding = ahead.submit(encode_documents, tokenizer, batch)
            if waiting is not None:
                yield _arrays(waiting.result())
            waiting = encoding
        if waiting is not None:
            yield _arrays(waiting.result())


def _arrays(encodings: list[Any]) -> tuple[Integers, Integers, Integers]:
    lengths = np.fromiter((len(encoding) for encoding in encodings), np.int64, len(encodings))
    total = int(lengths.sum())
    ids = np.fromiter((token for encoding in encodings for token in encoding.ids), np.int64, total)
    words = np.fromiter((word for encoding in encodings for word in encoding.word_ids), np.int64, total)
    return ids, words, lengths


def _batches(documents: Iterator[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document)
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


class _Packer:
    """Lays documents into rows one after another and writes each row when it is full."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, sequence_length: int, tokens: BinaryIO, marks: BinaryIO
    ) -> None:
        self.length = sequence_length
        self.begin, self.end, self.pad = _frame(tokenizer)
        self.dtype = np.uint16 if len(tokenizer) <= 1 << 16 else np.uint32
        self.tokens_file, self.marks_file = tokens, marks
        self.open_tokens, self.open_marks = self._empty(0)  # rows not yet written; the last one may have room
        self.used = sequence_length  # positions taken in the last row
        self.rows = self.content = self.framing = 0
        self.document_lengths: list[Integers] = []

    def add(self, ids: Integers, words: Integers, lengths: Integers) -> None:
        """Lay out the documents of a batch: `ids` and `words` [t] run through all of them, `lengths` [d]."""
        pieces = np.asarray(list(self._pieces(lengths)), dtype=np.int64).reshape(-1, 2)
        if len(pieces) == 0:
            return
        starts, sizes = pieces[:, 0], pieces[:, 1]
        new_rows = self._empty(int(starts[-1] // self.length) + 1 - len(self.open_tokens))
        tokens = np.concatenate((self.open_tokens, new_rows[0]))
        marks = np.concatenate((self.open_marks, new_rows[1]))
        # Content is laid in order, so each piece moves as a whole: by where it goes less where it comes from.
        moves = starts + 1 - (np.cumsum(sizes) - sizes)
        target = np.arange(len(ids)) + np.repeat(moves, sizes)
        word_start = np.concatenate(([True], words[1:] != words[:-1]))
        word_start[(np.cumsum(lengths) - lengths)[lengths > 0]] = True
        tokens.flat[target] = ids
        marks.flat[target] = np.where(word_start, WORD_START, 0)
        marks.flat[starts + 1] |= WORD_START  # a word that a row's end cut in two is two words
        tokens.flat[starts], tokens.flat[starts + sizes + 1] = self.begin, self.end
        marks.flat[starts] = SEGMENT_START
        self.content += len(ids)
        self.framing += 2 * len(pieces)
        self.document_lengths.append(np.minimum(lengths, SHORT_DOCUMENT * 16).astype(np.uint16))
        self._write(tokens[:-1], marks[:-1])
        self.open_tokens, self.open_marks = tokens[-1:], marks[-1:]

    def finish(self) -> BlockFacts:
        self._write(self.open_tokens, self.open_marks)
        lengths = np.concatenate(self.document_lengths) if self.document_lengths else np.zeros(1)
        return BlockFacts(
            documents=sum(map(len, self.document_lengths)),
            rows=self.rows,
            content_tokens=self.content,
            padding_tokens=self.rows * self.length - self.content - self.framing,
            median_document=int(np.median(lengths)),
            sequence_length=self.length,
            dtype=np.dtype(self.dtype).name,
            pad_id=self.pad,
        )

    def _pieces(self, lengths: Integers) -> Iterator[tuple[int, int]]:
        """Where each segment begins, in positions from the first open row on, and its content tokens."""
        row = len(self.open_tokens) - 1
        used = self.used
        for remaining in lengths.tolist():
            while remaining:
                free = self.length - used - 2
                if free < min(remaining, SHORTEST_PIECE):
                    row, used = row + 1, 0
                    continue
                piece = min(remaining, free)
                yield row * self.length + used, piece
                used += piece + 2
                remaining -= piece
        self.used = used

    def _empty(self, rows: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        shape = (rows, self.length)
        return np.full(shape, self.pad, self.dtype), np.zeros(shape, np.uint8)

    def _write(self, tokens: NDArray[Any], marks: NDArray[np.uint8]) -> None:
        tokens.tofile(self.tokens_file)
        marks.tofile(self.marks_file)
        self.rows += len(tokens)


def _frame(tokenizer: PreTrainedTokenizerFast) -> tuple[int, int, int]:
    """The ids that begin and end a segment, and the pad id."""
    ids = {name: getattr(tokenizer, f"{name}_token_id") for name in ("cls", "sep", "pad")}
    missing = [name for name, token in ids.items() if token is None]
    if missing:
        raise DataError(
            where=f"tokenizer {tokenizer.name_or_path}",
            expected="cls, sep and pad tokens, which frame the rows of an encoder",
            found=f"no {' and no '.join(missing)} token",
            do="give a tokenizer that has them, such as one made by recipes/train_tokenizer.py",
        )
    return ids["cls"], ids["sep"], ids["pad"]
