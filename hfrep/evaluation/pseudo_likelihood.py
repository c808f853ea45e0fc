"""How likely a masked language model finds a sentence: pseudo-log-likelihood, in nats, summed over its tokens.

- ``pll``: each token is masked once and predicted from all others, log p(w_i | w_1 … w_{i-1}, w_{i+1} … w_n); Salazar
  et al. 2020, "Masked language model scoring".
- ``within_word_l2r``: beside the token, the later tokens of its word are masked too. The first variant lets the rest of
  a word give its pieces away, and so finds rare words that are cut into many pieces too likely; Kauf and Ivanova 2023,
  "A better way to do masked language model scoring".

Words are those of the tokenizer's ``word_ids``. The begin and end tokens are seen and not scored. The masked copies of
all sentences go through the model together, those of similar length in one batch; only the masked position of each is
projected to the vocabulary.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from hfrep.data.order import Integers
from hfrep.errors import DataError
from hfrep.evaluation.sentences import BATCH_TOKENS, Scores, Sentences, batches, token_scores
from hfrep.objectives.masking import Booleans

Scoring = Literal["pll", "within_word_l2r"]


def pseudo_log_likelihoods(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    *,
    scoring: Scoring = "pll",
    batch_tokens: int = BATCH_TOKENS,
) -> Scores:
    """Pseudo-log-likelihoods of `texts`; `model` is put into eval mode.

    Args:
        batch_tokens: tokens, padding included, that go through the model at once.

    Raises:
        DataError: the tokenizer has no mask token or no frame, or a sentence is too long for the model.
    """
    begin, end, mask = special_ids(tokenizer)
    sentences = Sentences.of(tokenizer, texts, begin=[begin], end=[end])
    sentences.require_room(model)
    owners, hidden = sentences.content()  # one masked copy of its sentence for each token
    nats = np.zeros(len(owners))
    with token_scores(model) as score:
        for rows in batches(sentences.lengths[owners], batch_tokens):
            ids, words, segments = sentences.take(owners[rows], tokenizer.pad_token_id or 0)
            copies, columns = np.arange(len(ids)), hidden[rows]
            masked = np.where(_masked(words, columns, scoring), mask, ids)
            nats[rows] = score(masked, segments, copies, columns, ids[copies, columns]).nats
    return sentences.scores(owners, nats)


def _masked(words: Integers, hidden: Integers, scoring: Scoring) -> Booleans:
    """Which positions of the copies are masked [b, L], where position `hidden` [b] is the one to predict."""
    offsets = np.arange(words.shape[1])
    if scoring == "pll":
        chosen: Booleans = offsets == hidden[:, None]
    else:
        same_word = words == np.take_along_axis(words, hidden[:, None], axis=1)
        chosen = same_word & (offsets >= hidden[:, None])
    return chosen


def special_ids(tokenizer: PreTrainedTokenizerFast) -> tuple[int, int, int]:
    """Ids of the begin, end and mask tokens."""
    ids = {name: getattr(tokenizer, f"{name}_token_id") for name in ("cls", "sep", "mask")}
    missing = [name for name, token in ids.items() if token is None]
    if missing:
        raise DataError(
            where=f"tokenizer {tokenizer.name_or_path}",
            expected="cls, sep and mask tokens, with which a masked language model scores",
            found=f"no {' and no '.join(missing)} token",
            do="give the tokenizer the model was trained with",
        )
    return ids["cls"], ids["sep"], ids["mask"]
