"""How likely a causal language model finds the last tokens of a text, given all before them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from hfrep.data.order import Integers
from hfrep.evaluation.sentences import BATCH_TOKENS, batches, token_scores
from hfrep.objectives.masking import Booleans


@dataclass(frozen=True)
class ContinuationScores:
    """Of n continuations.

    Attributes:
        nats: float64 [n], sum of the log-probabilities of a continuation's tokens.
        tokens: int64 [n], how many they are.
        greedy: bool [n], whether each of them is the likeliest one where it stands.
    """

    nats: NDArray[np.float64]
    tokens: Integers
    greedy: Booleans


def score_continuations(
    model: PreTrainedModel, texts: Sequence[Sequence[int]], tokens: Sequence[int], *, batch_tokens: int = BATCH_TOKENS
) -> ContinuationScores:
    """Score the last `tokens` of each of `texts`; `model` is put into eval mode.

    Args:
        texts: token ids, of which the first is given and not scored.
        tokens: of each text that are scored, fewer than it has.
        batch_tokens: tokens, padding included, that go through the model at once.
    """
    lengths, scored = np.array([len(text) for text in texts], np.int64), np.array(tokens, np.int64)
    nats, greedy = np.zeros(len(texts)), np.ones(len(texts), bool)
    with token_scores(model) as score:
        for chosen in batches(lengths, batch_tokens):
            ids, inside = _padded([texts[number] for number in chosen])
            offsets = np.arange(ids.shape[1])
            tail = (lengths - scored)[chosen][:, None]
            row, column = np.nonzero((offsets >= tail) & (offsets < lengths[chosen][:, None]))
            made = score(ids, inside, row, column - 1, ids[row, column])
            nats[chosen] = np.bincount(row, weights=made.nats, minlength=len(chosen))
            greedy[chosen] = np.bincount(row, weights=~made.best, minlength=len(chosen)) == 0
    return ContinuationScores(nats, scored, greedy)


def _padded(texts: Sequence[Sequence[int]]) -> tuple[Integers, Integers]:
    """Token ids and, where there are some, ones, int64 [b, L] each: filled up on the right, where nobody looks."""
    shape = len(texts), max(map(len, texts))
    ids, inside = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, text in enumerate(texts):
        ids[row, : len(text)], inside[row, : len(text)] = text, 1
    return ids, inside
