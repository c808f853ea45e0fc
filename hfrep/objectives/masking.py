"""BERT's masking rule, by token, whole word or span, as a pure function of a row's address.

Devlin et al. 2019 (section 3.1): each eligible position is chosen with probability `mlm_probability`; of the chosen,
80 % become [MASK], 10 % a random token, 10 % stay. Here a random token is never a special token, special tokens and
padding are never chosen, and a row with an eligible position never comes out without a target.

- ``token``: positions are chosen one by one;
- ``word``: whole words are chosen (Google's whole-word BERT, 2019); each token of one is replaced on its own;
- ``span``: runs of whole words whose length is geometric with mean 3 are chosen, and a run is replaced as one
  (Joshi et al. 2020, SpanBERT, which clips lengths at 10; here they are not clipped). Runs come from a two-state
  Markov chain over the words of a segment, started in its stationary distribution, so that every word is chosen
  with exactly `mlm_probability`.

Randomness is a function of (seed, pass, row, purpose, position): see `hfrep.data.order`.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from hfrep.data.order import (
    PURPOSE_CHOOSE,
    PURPOSE_REPLACE,
    PURPOSE_TOKEN,
    Addresses,
    Integers,
    Words,
    as_uniform,
    counter_hash,
    hashed_further,
)
from hfrep.data.rows import Arrays
from hfrep.errors import ConfigError, DataError
from hfrep.objectives.base import IGNORED
from hfrep.settings import setting

Booleans = NDArray[np.bool_]
Unit = Literal["token", "word", "span"]

VALIDATION_SEED = 1 << 40  # of validation masks, which are the same in every run
CAPACITY_STEP = 64  # targets; keeps the shapes of batches few
MEAN_SPAN = 3.0  # words
MASKED, RANDOM = 0.8, 0.1
PURPOSES = np.array([PURPOSE_CHOOSE, PURPOSE_REPLACE, PURPOSE_TOKEN])


@dataclass(frozen=True, kw_only=True)
class MaskingSettings:
    mlm_probability: str = setting(
        # BERT's is 0.15. More targets a row teach a small run more (Wettig et al. 2023, "Should you mask 15 %?").
        "0.4",
        "share of eligible tokens that are predicted; START:END changes it linearly over the run",
    )
    eval_mlm_probability: float = setting(0.15, "share of eligible tokens that are predicted in validation")
    masking: Unit = setting("token", "what is chosen at once: single tokens, whole words, or spans of words (mean 3)")

    def __post_init__(self) -> None:
        highest = 1 - 1 / MEAN_SPAN if self.masking == "span" else 1.0
        given = {"mlm_probability": self.rates, "eval_mlm_probability": (self.eval_mlm_probability,)}
        for name, rates in given.items():
            if not all(0 < rate < 1 and rate <= highest for rate in rates):
                raise ConfigError(
                    where=name,
                    expected=f"a share above 0 and {f'up to {highest:.2f}' if highest < 1 else 'below 1'}",
                    found=str(getattr(self, name)),
                    do="0.15 is BERT's",
                )
        # In one spelling, so that 0.40 is no other run than 0.4.
        object.__setattr__(self, "mlm_probability", ":".join(f"{rate:g}" for rate in dict.fromkeys(self.rates)))

    @property
    def rates(self) -> tuple[float, float]:
        """The rate at the start and at the end of the run."""
        try:
            start, _, end = self.mlm_probability.partition(":")
            return float(start), float(end or start)
        except ValueError:
            raise ConfigError(
                where="mlm_probability",
                expected="a number or START:END",
                found=repr(self.mlm_probability),
                do="write it like 0.15 or 0.3:0.15",
            ) from None

    def require_known_length(self, minutes: float | None) -> None:
        """Refuse a rate that changes over a run whose number of positions is not known (`minutes` given)."""
        if minutes is not None and self.rates[0] != self.rates[1]:
            raise ConfigError(
                where="mlm_probability",
                expected="one rate with --max_minutes, which does not fix how many rows there will be",
                found=self.mlm_probability,
                do="give --max_steps, --max_tokens or --num_train_epochs",
            )


@dataclass(frozen=True)
class MaskedLMCollator:
    """Rows and their addresses → a masked batch. Small and picklable: loader workers get a copy.

    Attributes:
        rates: share of eligible tokens to predict at the start and at the end of the run.
        by: ``token``, ``word`` or ``span``.
        mask_id: id of the mask token.
        vocabulary: int64 [v], ids a random replacement is drawn from.
        special: bool [vocabulary size], true for special tokens.
        seed: of all masks; training and validation have different ones.
    """

    rates: tuple[float, float]
    by: Unit
    mask_id: int
    vocabulary: Integers
    special: Booleans
    seed: int

    @classmethod
    def of(
        cls, tokenizer: PreTrainedTokenizerFast, *, rates: tuple[float, float], by: Unit, seed: int
    ) -> "MaskedLMCollator":
        """The collator for rows made with `tokenizer`.

        Raises:
            DataError: the tokenizer has no mask token.
        """
        if tokenizer.mask_token_id is None:
            raise DataError(
                where=f"tokenizer {tokenizer.name_or_path}",
                expected="a mask token, which masked language modeling needs",
                found="none",
                do="give a tokenizer that has one, or train a causal model",
            )
        special = special_tokens(tokenizer)
        return cls(rates, by, tokenizer.mask_token_id, np.flatnonzero(~special), special, seed)

    def __call__(self, rows: Arrays, addresses: Addresses) -> dict[str, torch.Tensor]:
        """Mask a batch.

        Args:
            rows: ``input_ids`` int64, ``segments`` int64, ``word_starts`` bool, each [b, L].
            addresses: where the b rows stand.

        Returns:
            ``input_ids`` int64 [b, L] with replacements; ``segments`` int64 [b, L]; ``label_positions`` and ``labels``
            int64 [capacity]: indices into the flattened b · L positions and the ids that stood there, filled up with
            position 0 and label -100.
        """
        original = rows["input_ids"]
        # A row's random numbers for each purpose go on from here with a position.
        states = counter_hash(self.seed, PURPOSES[:, None], addresses.passes, addresses.rows)
        chosen, unit = self._chosen(rows, addresses, states[0])
        targets = np.flatnonzero(chosen)
        capacity = max(1, -(-len(targets) // CAPACITY_STEP)) * CAPACITY_STEP
        positions, labels = np.zeros(capacity, np.int64), np.full(capacity, IGNORED, np.int64)
        positions[: len(targets)], labels[: len(targets)] = targets, original.take(targets)
        masked = original.copy()
        masked.reshape(-1)[targets] = self._replacements(labels[: len(targets)], targets, unit, states[1], states[2])
        batch = {"input_ids": masked, "segments": rows["segments"], "label_positions": positions, "labels": labels}
        return {name: torch.from_numpy(values) for name, values in batch.items()}

    def _chosen(self, rows: Arrays, addresses: Addresses, states: Words) -> tuple[Booleans, Integers]:
        """Which positions are targets [b, L], and the position whose random numbers decide each one's fate [b, L]."""
        eligible = ~self.special[rows["input_ids"]]
        rate = (self.rates[0] + (self.rates[1] - self.rates[0]) * addresses.progress)[:, None]
        positions = np.broadcast_to(np.arange(eligible.shape[1]), eligible.shape)
        draw = as_uniform(hashed_further(states[:, None], positions[:1]))
        if self.by == "token":
            return _never_empty((draw < rate) & eligible, eligible, draw), positions
        first = np.diff(rows["segments"], axis=1, prepend=0) != 0
        word = _latest(positions, rows["word_starts"] | first)
        word_draw = np.take_along_axis(draw, word, axis=1)
        if self.by == "word":
            return _never_empty((word_draw < rate) & eligible, eligible, word_draw), positions
        # A chain whose next state hangs on the last one only where enter ≤ draw < stay: filling forward from the draws
        # that decide alone gives every state at once. A segment's first word is drawn from the stationary distribution.
        # The begin token is a word of its own here and takes that draw; it cannot be chosen.
        stay = 1 - 1 / MEAN_SPAN
        enter = rate * (1 - stay) / (1 - rate)
        starts_segment = np.take_along_axis(first, word, axis=1)
        decides = starts_segment | (word_draw < enter) | (word_draw >= stay)
        inside = np.where(starts_segment, word_draw < rate, word_draw < enter)
        # The first token of the word that decided last: all that hangs on it is one span.
        decider = np.take_along_axis(word, _latest(positions, decides), axis=1)
        chosen = np.take_along_axis(inside, decider, axis=1)
        return _never_empty(chosen & eligible, eligible, word_draw), decider

    def _replacements(
        self, originals: Integers, targets: Integers, unit: Integers, fates: Words, tokens: Words
    ) -> Integers:
        """What stands at each of `targets` [n] instead of `originals` [n]."""
        rows, places = np.divmod(targets, unit.shape[1])
        fate = as_uniform(hashed_further(fates[rows], unit[rows, places]))
        drawn = hashed_further(tokens[rows], places) % np.uint64(len(self.vocabulary))
        randomized = np.where(fate < MASKED + RANDOM, self.vocabulary[drawn.astype(np.int64)], originals)
        return np.where(fate < MASKED, self.mask_id, randomized)


def special_tokens(tokenizer: PreTrainedTokenizerFast) -> Booleans:
    """Which ids are special tokens; bool [vocabulary size]."""
    special = np.zeros(len(tokenizer), bool)
    special[tokenizer.all_special_ids] = True
    return special


def _latest(positions: Integers, marks: Booleans) -> Integers:
    """For each position of a row, the latest marked one up to it; 0 before the first [b, L]."""
    return np.maximum.accumulate(np.where(marks, positions, 0), axis=1)


def _never_empty(chosen: Booleans, eligible: Booleans, draw: NDArray[np.float64]) -> Booleans:
    """Where a row has no target, the eligible position that came nearest to being chosen is one."""
    empty = np.flatnonzero(~chosen.any(axis=1))
    if len(empty) == 0:
        return chosen
    nearest = np.argmin(np.where(eligible[empty], draw[empty], 2.0), axis=1)
    rescued = chosen.copy()
    rescued[empty, nearest] = eligible[empty, nearest]
    return rescued
