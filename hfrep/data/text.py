"""From corpora to what a language model trains on: rows, their order, and the rows it is judged on."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerFast

from hfrep.data.blocks import SHORT_DOCUMENT, Blocks, BlockSettings, build_blocks
from hfrep.data.cache import default_cache
from hfrep.data.corpus import Corpus, CorpusSettings, open_training_and_validation
from hfrep.data.order import Integers, Order, order_of
from hfrep.data.rows import Concatenated
from hfrep.errors import DataError

ROWS_AT_A_TIME = 4096


@dataclass(frozen=True)
class Text:
    """Packed text.

    Attributes:
        names: of the training corpora.
        training, validation: rows of all corpora, one after the other.
        order: which training row stands at a position.
        fingerprint: of everything that was read, with what and how it was cut; hex digests.
    """

    names: tuple[str, ...]
    training: Concatenated[Blocks]
    validation: Concatenated[Blocks]
    order: Order
    fingerprint: str

    def __str__(self) -> str:
        facts = [blocks.facts for blocks in self.training.parts]
        documents, tokens = sum(fact.documents for fact in facts), sum(fact.content_tokens for fact in facts)
        padding = sum(fact.padding_tokens for fact in facts) / sum(fact.rows * fact.sequence_length for fact in facts)
        return (
            f"{', '.join(self.names)}: {documents:,} documents, {tokens:,} tokens in {len(self.training):,} rows of "
            f"{facts[0].sequence_length}, {padding:.2%} padding; {len(self.validation):,} rows held out"
        )

    def token_counts(self, size: int) -> Integers:
        """How often each of `size` tokens stands in the training rows, but for what begins a segment; int64 [size].

        In a decoder's rows these are the targets.
        """
        counts = np.zeros(size, np.int64)
        for first in range(0, len(self.training), ROWS_AT_A_TIME):
            rows = self.training.take(np.arange(first, min(first + ROWS_AT_A_TIME, len(self.training))))
            segments = rows["segments"]
            inside = (segments > 0) & (np.diff(segments, axis=1, prepend=0) == 0)
            counts += np.bincount(rows["input_ids"][inside], minlength=size)
        return counts

    def advice(self) -> Iterator[str]:
        """A sentence for each corpus whose documents are so short that its separator may be wrong."""
        for name, blocks in zip(self.names, self.training.parts, strict=True):
            if blocks.facts.median_document < SHORT_DOCUMENT:
                yield (
                    f"{name}: documents have {blocks.facts.median_document} tokens in the median; "
                    "if lines or paragraphs of one .txt were taken for documents, try another --document_separator"
                )


def open_text(
    corpora: CorpusSettings,
    blocks: BlockSettings,
    tokenizer: PreTrainedTokenizerFast,
    *,
    seed: int,
    causal: bool = False,
) -> Text:
    """Read, tokenize and pack the corpora of `corpora`, or find them in the cache.

    Args:
        causal: frame rows for a decoder.

    Raises:
        DataError: a corpus that cannot be read, or is too small for one row.
    """
    cache = Path(corpora.cache_dir) if corpora.cache_dir else default_cache()
    training, validation = open_training_and_validation(corpora)

    def packed(sources: list[Corpus]) -> Concatenated[Blocks]:
        length = blocks.sequence_length
        return Concatenated([build_blocks(source, tokenizer, length, cache, causal=causal) for source in sources])

    train, valid = packed(training), packed(validation)
    for source, part in zip(training, train.parts, strict=True):
        _require_one_full_row(source.name, part)
    return Text(
        names=tuple(source.name for source in training),
        training=train,
        validation=valid,
        order=order_of(train.sizes, corpora.corpus_weights, seed),
        fingerprint=f"{train.fingerprint}/{valid.fingerprint}",
    )


def _require_one_full_row(name: str, blocks: Blocks) -> None:
    facts = blocks.facts
    if facts.rows == 1 and np.count_nonzero(blocks.take(np.zeros(1, np.int64))["segments"]) < facts.sequence_length - 2:
        raise DataError(
            where=name,
            expected=f"text for at least one row of {facts.sequence_length} tokens",
            found=f"{facts.content_tokens} tokens",
            do="give more text or a smaller --sequence_length",
        )
