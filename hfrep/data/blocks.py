"""Documents → fixed-length rows on disk: tokenized once, nothing dropped, document and word boundaries kept.

A *segment* is the piece of a document that lies in one row, framed as the model expects it: ``[CLS] … [SEP]`` around
every segment for encoders; for decoders the begin token before every segment, and the end token where the document
truly ends. A document that does not fit goes on in the next row. What is left of a row when it is too short for a
useful segment is padding, whose share is reported.

On disk a folder holds two memory-mapped files, row after row:

- ``tokens.bin``: token ids, uint16 or uint32 [rows, sequence_length];
- ``marks.bin``: uint8 [rows, sequence_length], bit 0 where a segment starts, bit 1 where a word starts.

Words are those of the tokenizer's pre-tokenizer, so that they are right for byte-level BPE too.
"""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from hfrep.data.cache import prepared
from hfrep.data.corpus import Corpus
from hfrep.data.encoding import Encoded, Encoder
from hfrep.data.order import Integers
from hfrep.data.rows import Arrays
from hfrep.data.tokenizer import tokenizer_hash
from hfrep.errors import ConfigError, DataError
from hfrep.settings import setting

FORMAT = 3  # part of the cache key: raise it when the layout changes
SEGMENT_START, WORD_START = np.uint8(1), np.uint8(2)
SHORTEST_PIECE = 4  # content tokens; a shorter piece of a longer document teaches little
SHORTEST_ROW = 10
SEQUENCE_LENGTH, CAUSAL_SEQUENCE_LENGTH = 128, 256  # tokens; where none is given
BATCH_CHARACTERS = 2_000_000  # text tokenized at a time: enough to keep every core busy, little enough to hold
SHORT_DOCUMENT = 64  # tokens; a median below it suggests that the separator cuts too finely


@dataclass(frozen=True, kw_only=True)
class BlockSettings:
    # A path may move and the same words stay: what a resume checks is the tokenizer's hash.
    tokenizer: str = setting(
        "",
        "tokenizer: a folder or a Hub id; default: that of --model_name_or_path, or one of ours for fresh weights",
        kind="operation",
        aliases=("tokenizer_name",),
    )
    sequence_length: int | None = setting(
        None,
        f"tokens per row, special tokens included; default: {SEQUENCE_LENGTH} for an encoder, "
        f"{CAUSAL_SEQUENCE_LENGTH} for a decoder",
        aliases=("max_seq_length", "block_size"),
    )

    documents: Literal["isolate", "join"] = setting(
        "isolate", "isolate: documents packed into one row do not see each other; join: they do"
    )

    def __post_init__(self) -> None:
        if self.sequence_length is not None and self.sequence_length < SHORTEST_ROW:
            raise ConfigError(
                where="sequence_length",
                expected=f"at least {SHORTEST_ROW} tokens",
                found=str(self.sequence_length),
                do="raise it",
            )

    def or_default(self, tokenizer: str, *, causal: bool) -> "BlockSettings":
        """These settings, with `tokenizer` where they name none, and a length of rows where they give none."""
        length = self.sequence_length or (CAUSAL_SEQUENCE_LENGTH if causal else SEQUENCE_LENGTH)
        return replace(self, tokenizer=self.tokenizer or tokenizer, sequence_length=length)


@dataclass(frozen=True)
class Frame:
    """The special tokens of rows; ids.

    Attributes:
        begin: stands before each segment.
        end: stands behind each segment; None where it does not.
        document_end: stands behind each document, as the last of its tokens; None where it does not.
        pad: fills a row up.
    """

    begin: int
    end: int | None
    document_end: int | None
    pad: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast, *, causal: bool) -> "Frame":
        """The frame of a decoder's rows (`causal`) or an encoder's.

        Raises:
            DataError: the tokenizer lacks a token of it.
        """
        names = ("bos", "eos", "pad") if causal else ("cls", "sep", "pad")
        ids = {name: getattr(tokenizer, f"{name}_token_id") for name in names}
        missing = [name for name, token in ids.items() if token is None]
        if missing:
            kind = "a decoder" if causal else "an encoder"
            raise DataError(
                where=f"tokenizer {tokenizer.name_or_path}",
                expected=f"{', '.join(names)} tokens, which frame the rows of {kind}",
                found=f"no {' and no '.join(missing)} token",
                do="give a tokenizer that has them, such as one made by recipes/train_tokenizer.py",
            )
        begin, end, pad = ids.values()
        return cls(begin, None, end, pad) if causal else cls(begin, end, None, pad)

    @property
    def segment_tokens(self) -> int:
        """Tokens that a segment takes beside its own."""
        return 1 if self.end is None else 2


@dataclass(frozen=True)
class BlockFacts:
    """What was packed: counts in documents, bytes of their text in UTF-8, rows and tokens.

    Content tokens are those of the documents, in a decoder's rows with their ends: what stands between the frames.
    """

    documents: int
    bytes: int
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


def build_blocks(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast, sequence_length: int, cache: Path, *, causal: bool = False
) -> Blocks:
    """The rows of `corpus`, tokenized and packed, or taken from `cache` where that was done before.

    Args:
        causal: frame them for a decoder.

    Raises:
        DataError: no document, a tokenizer that cannot frame a segment, or a cache that cannot be written.
    """
    frame = Frame.of(tokenizer, causal=causal)
    key = (FORMAT, corpus.fingerprint, tokenizer_hash(tokenizer), sequence_length, asdict(frame))
    fingerprint = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]

    def build(folder: Path) -> None:
        with open(folder / "tokens.bin", "wb") as tokens, open(folder / "marks.bin", "wb") as marks:
            dtype = np.uint16 if len(tokenizer) <= 1 << 16 else np.uint32
            packer = _Packer(frame, sequence_length, np.dtype(dtype), tokens, marks)
            for batch, size in _encoded(corpus.documents(), tokenizer):
                packer.add(batch, size)
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


def _encoded(documents: Iterator[str], tokenizer: PreTrainedTokenizerFast) -> Iterator[tuple[Encoded, int]]:
    """The documents in batches, and the bytes of each batch; the next one is encoded meanwhile."""
    encode = Encoder(tokenizer)
    with ThreadPoolExecutor(1) as ahead:
        waiting: tuple[Future[Encoded], int] | None = None
        for batch in _batches(documents):
            following = ahead.submit(encode, batch), sum(len(text.encode()) for text in batch)
            if waiting is not None:
                yield waiting[0].result(), waiting[1]
            waiting = following
        if waiting is not None:
            yield waiting[0].result(), waiting[1]


def _with_ends(batch: Encoded, end: int) -> Encoded:
    """The token `end` behind each document that has a token, as a word of its own."""
    places = np.cumsum(batch.lengths)[batch.lengths > 0]
    ids, starts = np.insert(batch.ids, places, end), np.insert(batch.word_starts, places, True)
    return Encoded(ids, starts, batch.lengths + (batch.lengths > 0))


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
        self, frame: Frame, sequence_length: int, dtype: np.dtype[Any], tokens: BinaryIO, marks: BinaryIO
    ) -> None:
        self.frame, self.length, self.dtype = frame, sequence_length, dtype
        self.tokens_file, self.marks_file = tokens, marks
        self.open_tokens, self.open_marks = self._empty(0)  # rows not yet written; the last one may have room
        self.used = sequence_length  # positions taken in the last row
        self.rows = self.content = self.framing = self.bytes = 0
        self.document_lengths: list[Integers] = []

    def add(self, batch: Encoded, size: int) -> None:
        """Lay out the documents of a batch, whose text has `size` bytes."""
        end = self.frame.document_end
        ids, word_starts, lengths = batch if end is None else _with_ends(batch, end)
        self.bytes += size
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
        flat_tokens, flat_marks = tokens.reshape(-1), marks.reshape(-1)  # views; `.flat` is slow to assign to
        flat_tokens[target] = ids
        flat_marks[target] = np.where(word_starts, WORD_START, 0)
        flat_marks[starts + 1] |= WORD_START  # a word that a row's end cut in two is two words
        flat_tokens[starts] = self.frame.begin
        if self.frame.end is not None:
            flat_tokens[starts + sizes + 1] = self.frame.end
        flat_marks[starts] = SEGMENT_START
        self.content += len(ids)
        self.framing += self.frame.segment_tokens * len(pieces)
        self.document_lengths.append(np.minimum(lengths, SHORT_DOCUMENT * 16).astype(np.uint16))
        self._write(tokens[:-1], marks[:-1])
        self.open_tokens, self.open_marks = tokens[-1:], marks[-1:]

    def finish(self) -> BlockFacts:
        self._write(self.open_tokens, self.open_marks)
        lengths = np.concatenate(self.document_lengths) if self.document_lengths else np.zeros(1)
        return BlockFacts(
            documents=sum(map(len, self.document_lengths)),
            bytes=self.bytes,
            rows=self.rows,
            content_tokens=self.content,
            padding_tokens=self.rows * self.length - self.content - self.framing,
            median_document=int(np.median(lengths)),
            sequence_length=self.length,
            dtype=self.dtype.name,
            pad_id=self.frame.pad,
        )

    def _pieces(self, lengths: Integers) -> Iterator[tuple[int, int]]:
        """Where each segment begins, in positions from the first open row on, and its content tokens."""
        row = len(self.open_tokens) - 1
        used, beside = self.used, self.frame.segment_tokens
        for remaining in lengths.tolist():
            while remaining:
                free = self.length - used - beside
                if free < min(remaining, SHORTEST_PIECE):
                    row, used = row + 1, 0
                    continue
                piece = min(remaining, free)
                if remaining - piece == 1 and self.frame.document_end is not None:
                    piece -= 1  # alone in the next row, the end of the document would come after nothing
                yield row * self.length + used, piece
                used += piece + beside
                remaining -= piece
        self.used = used

    def _empty(self, rows: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        shape = (rows, self.length)
        return np.full(shape, self.frame.pad, self.dtype), np.zeros(shape, np.uint8)

    def _write(self, tokens: NDArray[Any], marks: NDArray[np.uint8]) -> None:
        tokens.tofile(self.tokens_file)
        marks.tofile(self.marks_file)
        self.rows += len(tokens)
