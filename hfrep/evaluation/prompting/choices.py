"""From the log-likelihoods of answer choices to probabilities and predictions.

A model answers by the choice that it finds likeliest after the prompt. A long choice is less likely than a short one,
and a rare one than a common one, whatever the prompt says; the normalizations take away one or the other:

- ``sum``: the log-likelihood as it is (lm-eval's ``acc``);
- ``token``: a token's share of it (Brown et al. 2020, section 2.4), which hangs on the tokenizer;
- ``character``: a character's (lm-eval's ``acc_norm``);
- ``byte``: a byte's in UTF-8 (lm-eval's ``acc_bytes``);
- ``pmi``: less the log-likelihood of the choice after a prompt without the item, which is how much the item says for
  the choice (Holtzman et al. 2021, "Surface form competition", arXiv:2104.08315, where it is PMI_DC).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hfrep.data.order import Integers
from hfrep.errors import DataError
from hfrep.evaluation.task_scores import Floats


@dataclass(frozen=True, eq=False)
class ChoiceScores:
    """What a model says to n items of at most c choices; the places that an item with fewer leaves are unused.

    Attributes:
        nats: float64 [n, c], log-likelihood of each choice given its prompt, -inf in unused places.
        tokens: int64 [n, c], those of each choice that were scored, 0 in unused places.
        characters: int64 [n, c], length of each choice without the blank before it, 0 in unused places.
        utf8_bytes: int64 [n, c], the same in bytes.
        unconditioned: float64 [n, c], log-likelihood of each choice after a prompt without the item, -inf in unused
            places; None where it was not asked for.

    Raises:
        DataError: the log-likelihood of a choice is not a finite number.
    """

    nats: Floats
    tokens: Integers
    characters: Integers
    utf8_bytes: Integers
    unconditioned: Floats | None = None

    def __post_init__(self) -> None:
        assert self.nats.ndim == 2
        assert self.used.any(axis=1).all(), "an item has a choice"
        for lengths in (self.tokens, self.characters, self.utf8_bytes):
            assert lengths.shape == self.nats.shape
            assert np.array_equal(lengths > 0, self.used), "a choice has a length"
        for nats in (self.nats, self.unconditioned):
            if nats is not None:
                self._check(nats)

    def _check(self, nats: Floats) -> None:
        assert nats.shape == self.used.shape
        assert np.isneginf(nats[~self.used]).all(), "unused places are -inf"
        wrong = int(np.count_nonzero(~np.isfinite(nats[self.used])))
        if wrong:
            raise DataError(
                where="the log-likelihoods of the choices",
                expected="finite numbers",
                found=f"{wrong:,} of {np.count_nonzero(self.used):,} that are not",
                do="check the weights of the model, or load it in float32",
            )

    @property
    def used(self) -> NDArray[np.bool_]:
        """Where there is a choice, [n, c]."""
        return self.tokens > 0


def _pmi(scores: ChoiceScores) -> Floats:
    assert scores.unconditioned is not None, "pmi needs the log-likelihoods without the item"
    return scores.nats - np.where(scores.used, scores.unconditioned, 0)  # -inf less -inf were nan


NORMALIZATIONS: dict[str, Callable[[ChoiceScores], Floats]] = {
    "sum": lambda scores: scores.nats,
    "token": lambda scores: _per(scores, scores.tokens),
    "character": lambda scores: _per(scores, scores.characters),
    "byte": lambda scores: _per(scores, scores.utf8_bytes),
    "pmi": _pmi,
}


def normalized(scores: ChoiceScores, name: str) -> Floats:
    """The scores by which choices are compared, float64 [n, c], in nats or nats per unit; -inf in unused places.

    Args:
        scores: for ``pmi`` with `unconditioned`.
        name: one of `NORMALIZATIONS`.
    """
    return NORMALIZATIONS[name](scores)


def log_probabilities(scores: Floats) -> Floats:
    """Log softmax of normalized scores over the choices of each item, float64 [n, c], in nats; -inf stays -inf.

    For ``sum`` it is how sure the model is, given that the answer is one of the choices; for the others it is a
    convention.
    """
    probabilities: Floats = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    return probabilities


def predictions(scores: Floats) -> Integers:
    """The place of the highest of each row, int64 [n]; of equal ones the first, as numpy and lm-eval do.

    Args:
        scores: [n, c], normalized or log-probabilities.
    """
    places: Integers = scores.argmax(axis=1).astype(np.int64)
    return places


def _per(scores: ChoiceScores, lengths: Integers) -> Floats:
    quotients: Floats = scores.nats / np.maximum(lengths, 1)  # 0 in unused places, which stay -inf
    return quotients
