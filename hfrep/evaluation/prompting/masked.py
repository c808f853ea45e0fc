"""Answers scored by a masked language model, which sees both sides of the place where they go.

``mask``: all tokens of the answer are masked at once, and each is asked for (a verbalizer, Schick and Schütze 2021,
arXiv:2001.07676; of several tokens as there, but that all are asked at once). ``pseudo_likelihood``: one at a time, the
others of the answer seen (Salazar et al. 2020, arXiv:1910.14659), which suits answers of many words.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from accelerate import Accelerator
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from hfrep.evaluation.prompting.answers import Answers, Found
from hfrep.evaluation.prompting.encoding import Encoded, Question
from hfrep.evaluation.prompting.sharing import shared
from hfrep.evaluation.pseudo_likelihood import special_ids
from hfrep.evaluation.sentences import BATCH_TOKENS, batches, token_scores

MaskedScoring = Literal["mask", "pseudo_likelihood"]


class MaskedScorer:
    """Scores questions with one masked `model`, which is put into eval mode.

    Args:
        batch_tokens: tokens, padding included, that go through the model at once.

    Raises:
        DataError: the tokenizer has no mask token.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        accelerator: Accelerator,
        *,
        scoring: MaskedScoring = "mask",
        batch_tokens: int = BATCH_TOKENS,
    ) -> None:
        self._model, self._accelerator, self._batch_tokens = model.eval(), accelerator, batch_tokens
        self._mask, self._together = special_ids(tokenizer)[2], scoring == "mask"

    def __call__(self, questions: Sequence[Question]) -> Answers:
        """How likely each answer is, on every process; each different one is scored once, on one of them."""
        different = list(dict.fromkeys(answer for question in questions for answer in question.answers))
        return Answers.of(questions, shared(different, self._accelerator, self._scored))

    def _scored(self, answers: Sequence[Encoded]) -> dict[Encoded, Found]:
        # A copy of the text for each set of its tokens that is masked at once, and the answer it is of.
        copies = [(number, masked) for number, answer in enumerate(answers) for masked in self._masked(answer)]
        lengths = np.array([len(answers[number].ids) for number, _ in copies], np.int64)
        nats = np.zeros(len(answers))
        with token_scores(self._model) as score:
            for chosen in batches(lengths, self._batch_tokens):
                shape = len(chosen), int(lengths[chosen].max())
                ids, inside = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
                rows: list[int] = []
                columns: list[int] = []
                for row, (number, masked) in enumerate(copies[copy] for copy in chosen):
                    ids[row, : len(answers[number].ids)] = answers[number].ids
                    inside[row, : len(answers[number].ids)] = 1
                    rows += [row] * len(masked)
                    columns += masked
                at = np.array(rows, np.int64), np.array(columns, np.int64)
                wanted = ids[at]
                ids[at] = self._mask
                owners = np.array([copies[copy][0] for copy in chosen])[at[0]]
                nats += np.bincount(owners, weights=score(ids, inside, *at, wanted).nats, minlength=len(answers))
        return {answer: (total, False) for answer, total in zip(answers, nats.tolist(), strict=True)}

    def _masked(self, answer: Encoded) -> list[range]:
        whole = range(answer.first, answer.end)
        return [whole] if self._together else [range(token, token + 1) for token in whole]
