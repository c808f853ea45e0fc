"""The loss of a causal language model on whole documents, longer than what it sees at once: by strided windows.

A window of tokens slides over the document, `stride` tokens at a time, and in each the model is charged for the new
ones only. So every token, and the end of every document, is charged once, the first `window` of a document given all
before them, later ones given at least ``window - stride`` tokens. A smaller stride gives more context and takes more
time; a score is comparable only to one of the same window and stride. Each window begins with the begin token, as the
rows of training do.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from hfrep.data.tokenizer import encode_documents
from hfrep.errors import DataError
from hfrep.evaluation.continuations import score_continuations
from hfrep.evaluation.sentences import BATCH_TOKENS

TOKENS_AT_A_TIME = 1 << 20  # of all windows that are held
DOCUMENTS_AT_A_TIME = 64


@dataclass(frozen=True)
class TextScore:
    """Totals over documents: nats, tokens they are the cost of, bytes of text in UTF-8.

    Attributes:
        lossless: whether tokens gave the text back. Where they do not, bits per byte are too low: what the tokenizer
            loses (case, accents, blanks) is not paid for.
    """

    nats: float
    tokens: int
    bytes: int
    documents: int
    lossless: bool

    @property
    def nats_per_token(self) -> float:
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.nats_per_token, 700.0))

    @property
    def bits_per_byte(self) -> float:
        return self.nats / self.bytes / math.log(2)

    def rates(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in ("nats_per_token", "perplexity", "bits_per_byte")}

    def __str__(self) -> str:
        caution = "" if self.lossless else " (too low: the tokenizer loses some of the text)"
        return (
            f"{self.bits_per_byte:.4f} bits per byte{caution}, {self.nats_per_token:.4f} nats per token (perplexity "
            f"{self.perplexity:.2f}) over {self.documents:,} documents, {self.tokens:,} tokens, {self.bytes:,} bytes"
        )


def score_documents(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    documents: Iterable[str],
    *,
    window: int,
    stride: int,
    batch_tokens: int = BATCH_TOKENS,
) -> TextScore:
    """Charge `model` for every token of `documents` and for the end of each.

    Args:
        tokenizer: one for decoders, with a begin and an end token.
        window: tokens that the model sees at once, the begin token included.
        stride: tokens that a window moves on by, at most ``window - 1``.
        batch_tokens: tokens that go through the model at once.

    Raises:
        DataError: there is no document.
    """
    assert 0 < stride < window
    nats, tokens, size, number, lossless = 0.0, 0, 0, 0, True

    def windows() -> Iterator[tuple[list[int], int]]:
        nonlocal size, number, lossless
        stream = iter(documents)
        while texts := list(islice(stream, DOCUMENTS_AT_A_TIME)):
            for text, encoding in zip(texts, encode_documents(tokenizer, texts), strict=True):
                size, number = size + len(text.encode()), number + 1
                lossless = lossless and tokenizer.decode(encoding.ids) == text
                for seen, new in _windows([*encoding.ids, tokenizer.eos_token_id], window - 1, stride):
                    yield [tokenizer.bos_token_id, *seen], new

    all_windows = windows()
    while group := list(islice(all_windows, TOKENS_AT_A_TIME // window + 1)):
        scores = score_continuations(model, *zip(*group, strict=True), batch_tokens=batch_tokens)
        nats, tokens = nats - float(scores.nats.sum()), tokens + int(scores.tokens.sum())
    if number == 0:
        raise DataError(
            where="the text to score", expected="a document or more", found="none", do="name a file with text in it"
        )
    return TextScore(nats, tokens, size, number, lossless)


def _windows(tokens: Sequence[int], window: int, stride: int) -> Iterator[tuple[Sequence[int], int]]:
    """Pieces of `tokens` in order, and how many at the end of each stood in none before it."""
    end = 0
    while end < len(tokens):
        before, end = end, min(len(tokens), end + (stride if end else window))
        yield tokens[max(0, end - window) : end], end - before
