"""How likely a causal language model finds a sentence: log-likelihood, in nats, summed over its tokens.

A sentence stands behind the tokenizer's begin token, so that its first token is scored too. A tokenizer without one (a
WordPiece) gives its cls token instead, which is what its rows begin with in training; one that has neither leaves
nothing to predict the first token from, which is then not scored and not counted. The end token is scored only where
asked for, whatever the tokenizer itself would add.
"""

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from hfrep.errors import DataError
from hfrep.evaluation.sentences import BATCH_TOKENS, Scores, Sentences, batches, token_scores


def log_likelihoods(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    *,
    end_token: bool = False,
    batch_tokens: int = BATCH_TOKENS,
) -> Scores:
    """Log-likelihoods of `texts`; `model` is put into eval mode.

    Args:
        end_token: whether ending there is scored as well.
        batch_tokens: tokens, padding included, that go through the model at once.

    Raises:
        DataError: an end token is asked for and there is none, or a sentence is too long for the model.
    """
    begin = begin_token_id(tokenizer)
    end = [_end_token_id(tokenizer)] if end_token else []
    sentences = Sentences.of(tokenizer, texts, begin=[] if begin is None else [begin], end=end)
    sentences.require_room(model)
    scored = np.flatnonzero(sentences.lengths > 1)  # of a sentence of one token nothing is predicted
    owners = [np.zeros(0, np.int64)]
    nats = [np.zeros(0)]
    with token_scores(model) as score:
        for rows in batches(sentences.lengths[scored], batch_tokens):
            # Padding stands on the right, where a causal model does not see it, whatever the tokenizer's own side is.
            ids, _, segments = sentences.take(scored[rows], tokenizer.pad_token_id or 0)
            row, column = np.nonzero(segments[:, 1:])  # what stands there predicts the token in the next column
            nats.append(score(ids, segments, row, column, ids[row, column + 1]).nats)
            owners.append(scored[rows][row])
    return sentences.scores(np.concatenate(owners), np.concatenate(nats))


def begin_token_id(tokenizer: PreTrainedTokenizerFast) -> int | None:
    """Id of the token that a sentence stands behind; None where the tokenizer has none."""
    begin: int | None = tokenizer.bos_token_id
    return tokenizer.cls_token_id if begin is None else begin


def _end_token_id(tokenizer: PreTrainedTokenizerFast) -> int:
    end: int | None = tokenizer.eos_token_id
    end = tokenizer.sep_token_id if end is None else end
    if end is None:
        raise DataError(
            where=f"tokenizer {tokenizer.name_or_path}",
            expected="an end token, which was to be scored",
            found="none",
            do="score without it",
        )
    return end
