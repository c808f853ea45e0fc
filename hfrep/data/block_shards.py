"""Rows as parquet files: written in batches, and mapped back into the files that packing the text leaves.

Columns, as `datasets.load_dataset` shows them:

- ``input_ids``: int32 [sequence_length];
- ``segment_ids``: int32 [sequence_length], the segments of a row numbered 1, 2, 3 …; padding is 0;
- ``word_starts``: bool [sequence_length], where a word starts;
- ``corpus``: string, the name of the corpus that the row is of.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from hfrep.data.blocks import SEGMENT_START, WORD_START, BlockFacts, Blocks
from hfrep.data.rows import Arrays

BATCH_TOKENS = 1 << 20  # read or written at a time
SHARD_TOKENS = 1 << 28  # of one file, which then has some 500 MB
TYPES = {"input_ids": pa.int32(), "segment_ids": pa.int32(), "word_starts": pa.bool_()}


def number_of_shards(facts: BlockFacts) -> int:
    """How many files the rows take."""
    return -(-facts.rows // _rows(SHARD_TOKENS, facts))


def write_shards(blocks: Blocks, corpus: str, files: Sequence[Path]) -> None:
    """Write the rows into `files`, as many as `number_of_shards` says."""
    facts = blocks.facts
    fields = [pa.field(name, pa.list_(kind, facts.sequence_length)) for name, kind in TYPES.items()]
    schema = pa.schema([*fields, pa.field("corpus", pa.string())])
    batch, shard = _rows(BATCH_TOKENS, facts), _rows(SHARD_TOKENS, facts)
    for first, file in zip(range(0, facts.rows, shard), files, strict=True):
        last = min(first + shard, facts.rows)
        with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            for start in range(first, last, batch):
                rows = blocks.take(np.arange(start, min(start + batch, last)))
                writer.write_batch(_record_batch(rows, corpus, schema))


def read_shards(files: Sequence[Path], facts: BlockFacts) -> Iterator[Arrays]:
    """The rows in batches, named and shaped as `Blocks.take` gives them."""
    for file in files:
        with parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(_rows(BATCH_TOKENS, facts), columns=list(TYPES)):
                arrays = {
                    name: batch.column(name).flatten().to_numpy(zero_copy_only=False).reshape(len(batch), -1)
                    for name in TYPES
                }
                yield {
                    "input_ids": arrays["input_ids"].astype(np.int64),
                    "segments": arrays["segment_ids"].astype(np.int64),
                    "word_starts": arrays["word_starts"],
                }


def map_shards(files: Sequence[Path], facts: BlockFacts, folder: Path) -> int:
    """Write the rows in `files` to `folder` as `hfrep.data.blocks` lays them out; how many there were."""
    rows = 0
    with ExitStack() as opened:
        tokens, marks = (opened.enter_context(open(folder / f"{name}.bin", "wb")) for name in ("tokens", "marks"))
        for batch in read_shards(files, facts):
            starts = (batch["segments"] > 0) & (np.diff(batch["segments"], axis=1, prepend=0) != 0)
            batch["input_ids"].astype(facts.dtype).tofile(tokens)
            (starts * SEGMENT_START | batch["word_starts"] * WORD_START).astype(np.uint8).tofile(marks)
            rows += len(starts)
    return rows


def file_hash(file: Path) -> str:
    """SHA-256 of the bytes, as the Hub has it of its large files; hex digest."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _rows(tokens: int, facts: BlockFacts) -> int:
    """How many rows hold about so many tokens."""
    return max(1, tokens // facts.sequence_length)


def _record_batch(rows: Arrays, corpus: str, schema: pa.Schema) -> pa.RecordBatch:
    named = {"input_ids": rows["input_ids"], "segment_ids": rows["segments"], "word_starts": rows["word_starts"]}
    columns = [
        pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), TYPES[name]), values.shape[1])
        for name, values in named.items()
    ]
    return pa.record_batch([*columns, pa.repeat(corpus, len(rows["input_ids"]))], schema=schema)
