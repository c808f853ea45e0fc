"""From corpora to what a language model trains on: rows, their order, and the rows it is judged on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerFast

from hfrep.data.blocks import SHORT_DOCUMENT, Blocks, BlockSettings, Frame, build_blocks
from hfrep.data.cache import default_cache
from hfrep.data.corpus import Corpus, CorpusSettings, open_training_and_validation, public_name
from hfrep.data.order import Integers, Order, order_of
from hfrep.data.prepared_blocks import SETTINGS, SPLITS, Part, PreparedBlocks, PreparedFacts
from hfrep.data.rows import Concatenated
from hfrep.data.tokenizer import tokenizer_hash
from hfrep.errors import ConfigError, DataError
from hfrep.settings import setting

ROWS_AT_A_TIME = 4096


@dataclass(frozen=True, kw_only=True)
class TextSettings(CorpusSettings):
    """What a language model is trained on: corpora, or rows made of them before."""

    # Which rows they are is part of a run's identity by their fingerprint; a folder may move.
    blocks: str | None = setting(
        None,
        "rows made by recipes/prepare.py, in place of the corpora: a folder, or org/name[@revision] on the Hub",
        kind="operation",
    )

    def require_a_weight_each(self) -> None:
        if self.blocks is None:  # otherwise how many there are is known when they are opened
            super().require_a_weight_each()

    def as_prepared(self, prepared: PreparedBlocks) -> "TextSettings":
        """With the settings that the `prepared` blocks were made with, as a run's record and its identity need them.

        Raises:
            ConfigError: one was given that is another, or a weight for each of more or fewer corpora.
        """
        usual, made = CorpusSettings(), prepared.facts.settings
        for name, value in made.items():
            given = getattr(self, name)
            if given not in (getattr(usual, name), value):
                raise ConfigError(
                    where=f"--{name}",
                    expected=f"{_shown(value)}, with which the blocks {prepared.name} were made",
                    found=_shown(given),
                    do="leave it out beside --blocks, or train from the text",
                )
        settings = replace(self, **made, blocks=prepared.name)
        super(TextSettings, settings).require_a_weight_each()
        return settings


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


def settled(
    corpora: TextSettings, blocks: BlockSettings, *, model: str | None, tokenizer: str, causal: bool = False
) -> tuple[TextSettings, BlockSettings]:
    """Both with what they leave open: as the prepared blocks have it, where these are named.

    Args:
        model: whose weights are trained further, with its own tokenizer; None for fresh ones.
        tokenizer: for fresh weights, where there are no prepared blocks.
        causal: rows are for a decoder.

    Raises:
        DataError: the prepared blocks are for another kind of model, or of another length.
        ConfigError: settings of the text beside prepared blocks, which were made with others.
    """
    if corpora.blocks is not None:
        opened = PreparedBlocks.open(corpora.blocks)
        opened.require(rows="decoder" if causal else "encoder", sequence_length=blocks.sequence_length)
        corpora = corpora.as_prepared(opened)
        blocks = replace(blocks, sequence_length=opened.facts.sequence_length)
        tokenizer = str(opened.tokenizer)
    return corpora, blocks.or_default(model or tokenizer, causal=causal)


def open_text(
    corpora: TextSettings,
    blocks: BlockSettings,
    tokenizer: PreTrainedTokenizerFast,
    *,
    seed: int,
    causal: bool = False,
) -> Text:
    """The rows of the prepared blocks that `corpora` name, or else of its text.

    Args:
        blocks: of `settled`.
        causal: frame rows for a decoder.

    Raises:
        DataError: prepared blocks that are damaged or were made with another tokenizer; see `pack_text`.
    """
    if corpora.blocks is None:
        return pack_text(corpora, blocks, tokenizer, seed=seed, causal=causal)
    opened, cache = PreparedBlocks.open(corpora.blocks), _cache(corpora)
    opened.require_tokenizer(tokenizer)
    train, validation = (
        Concatenated([opened.blocks(part, cache) for part in opened.facts.splits[split]]) for split in SPLITS
    )
    names = [part.corpus for part in opened.facts.splits["train"]]
    return _text(names, train, validation, corpora, seed)


def pack_text(
    corpora: CorpusSettings,
    blocks: BlockSettings,
    tokenizer: PreTrainedTokenizerFast,
    *,
    seed: int,
    causal: bool = False,
) -> Text:
    """Read, tokenize and pack the corpora of `corpora`, or find them in the cache.

    Args:
        blocks: with the length of rows.
        causal: frame rows for a decoder.

    Raises:
        DataError: a corpus that cannot be read, or is too small for one row.
    """
    cache, length = _cache(corpora), blocks.sequence_length
    assert length is not None, "settled before"
    training, validation = open_training_and_validation(corpora)

    def packed(sources: list[Corpus]) -> Concatenated[Blocks]:
        return Concatenated([build_blocks(source, tokenizer, length, cache, causal=causal) for source in sources])

    train, valid = packed(training), packed(validation)
    for source, part in zip(training, train.parts, strict=True):
        _require_one_full_row(source.name, part)
    return _text([source.name for source in training], train, valid, corpora, seed)


def prepared_facts(
    text: Text, corpora: CorpusSettings, tokenizer: PreTrainedTokenizerFast, *, causal: bool = False
) -> PreparedFacts:
    """What is to be told of `text` where it is stored as prepared blocks; without the files.

    Args:
        corpora, tokenizer, causal: that it was packed with.
    """
    settings = {name: getattr(corpora, name) for name in SETTINGS}
    public = {
        name: None if settings[name] is None else [public_name(one) for one in settings[name]]
        for name in ("corpus", "validation_corpus")
    }
    validated = public["validation_corpus"] or public["corpus"]
    named = {"train": (public["corpus"], text.training), "validation": (validated, text.validation)}
    return PreparedFacts(
        rows="decoder" if causal else "encoder",
        sequence_length=text.training.parts[0].facts.sequence_length,
        tokenizer_hash=tokenizer_hash(tokenizer),
        frame=Frame.of(tokenizer, causal=causal),
        settings=settings | public,
        splits={
            split: [
                Part(name, blocks.fingerprint, blocks.facts, {})
                for name, blocks in zip(names or [], rows.parts, strict=True)
            ]
            for split, (names, rows) in named.items()
        },
    )


def _text(
    names: Sequence[str],
    training: Concatenated[Blocks],
    validation: Concatenated[Blocks],
    corpora: CorpusSettings,
    seed: int,
) -> Text:
    return Text(
        names=tuple(names),
        training=training,
        validation=validation,
        order=order_of(training.sizes, corpora.corpus_weights, seed),
        fingerprint=f"{training.fingerprint}/{validation.fingerprint}",
    )


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _cache(corpora: CorpusSettings) -> Path:
    return Path(corpora.cache_dir) if corpora.cache_dir else default_cache()


def _require_one_full_row(name: str, blocks: Blocks) -> None:
    facts = blocks.facts
    if facts.rows == 1 and np.count_nonzero(blocks.take(np.zeros(1, np.int64))["segments"]) < facts.sequence_length - 2:
        raise DataError(
            where=name,
            expected=f"text for at least one row of {facts.sequence_length} tokens",
            found=f"{facts.content_tokens} tokens",
            do="give more text or a smaller --sequence_length",
        )
