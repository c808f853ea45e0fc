"""How likely a model finds each answer to each question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hfrep.data.order import Integers
from hfrep.evaluation.prompting.encoding import Encoded, Question

Found = tuple[float, bool]  # nats of an answer, and whether it is what greedy decoding would write


@dataclass(frozen=True, eq=False)
class Answers:
    """Of n questions with at most c choices.

    Attributes:
        nats: float64 [n, c], sum of the log-probabilities of an answer's tokens; -inf where there is no such choice.
        tokens: int64 [n, c], how many these are; 0 there.
        greedy: bool [n, c], whether each of them is the likeliest one where it stands; false for a masked model.
    """

    nats: NDArray[np.float64]
    tokens: Integers
    greedy: NDArray[np.bool_]

    @classmethod
    def of(cls, questions: Sequence[Question], found: Mapping[Encoded, Found]) -> "Answers":
        """From what was `found` for each different text."""
        shape = len(questions), max(len(question.answers) for question in questions)
        nats, tokens, greedy = np.full(shape, -np.inf), np.zeros(shape, np.int64), np.zeros(shape, bool)
        for row, question in enumerate(questions):
            for column, answer in enumerate(question.answers):
                nats[row, column], greedy[row, column] = found[answer]
                tokens[row, column] = answer.end - answer.first
        return cls(nats, tokens, greedy)
