"""Does a causal language model know the last word of a passage? As in LAMBADA (Paperno et al. 2016).

The passage is tokenized whole. Its last word is what stands behind the last white space; scored are the tokens from the
first one that touches it or the white space before it. It counts as right where each of them is the likeliest one, as
greedy decoding would write it; perplexity is that of words, exp of the mean cost of a last word.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from hfrep.data.tokenizer import encode_documents
from hfrep.errors import DataError
from hfrep.evaluation.continuations import score_continuations
from hfrep.evaluation.interval import wilson
from hfrep.evaluation.sentences import BATCH_TOKENS


@dataclass(frozen=True)
class LastWordScore:
    """Share of last words that were right, with the limits of its 95 % interval, and nats per last word."""

    accuracy: float
    low: float
    high: float
    nats_per_word: float
    passages: int

    @property
    def perplexity(self) -> float:
        return math.exp(min(self.nats_per_word, 700.0))

    def __str__(self) -> str:
        return (
            f"last word right {self.accuracy:.2%} (95% interval {self.low:.2%} … {self.high:.2%}), perplexity "
            f"{self.perplexity:.2f}, over {self.passages:,} passages"
        )


def score_last_words(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    passages: Sequence[str],
    *,
    window: int,
    batch_tokens: int = BATCH_TOKENS,
) -> LastWordScore:
    """Score the last word of each passage.

    Args:
        tokenizer: one for decoders, with a begin token.
        window: tokens that the model sees at once, the begin token included; of a longer passage the last ones.

    Raises:
        DataError: no passage, one of fewer than two words, or a last word that no token touches.
    """
    texts, scored = [], []
    if not passages:
        raise DataError(where="the passages", expected="one or more", found="none", do="name a file with text in it")
    for number, (passage, encoding) in enumerate(zip(passages, encode_documents(tokenizer, passages), strict=True), 1):
        if len(passage.split()) < 2:
            raise DataError(
                where=f"passage {number}",
                expected="two words or more, the last of which is asked for",
                found=repr(passage[:40]),
                do="correct the file",
            )
        context = passage.rsplit(maxsplit=1)[0]
        tokens = sum(end > len(context) for _, end in encoding.offsets)
        if tokens == 0:
            raise DataError(
                where=f"passage {number}",
                expected="a last word of which the tokenizer keeps something",
                found=repr(passage[len(context) :]),
                do="correct the file",
            )
        texts.append([tokenizer.bos_token_id, *encoding.ids[1 - window :]])
        scored.append(min(tokens, window - 1))
    scores = score_continuations(model, texts, scored, batch_tokens=batch_tokens)
    accuracy = float(scores.greedy.mean())
    cost = -float(scores.nats.mean())
    return LastWordScore(accuracy, *wilson(accuracy, len(texts)), cost, len(texts))
