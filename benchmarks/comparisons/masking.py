"""Masking a batch of 32 × 128 tokens, by the token at 15 %, from rows in memory to tensors."""

import functools
import time

import numpy as np
import torch
from comparison import OURS, Amount, Comparison, Goal, Turn
from language_models import dense
from transformers import DataCollatorForLanguageModeling

from comparisons.masked_training import LENGTH, RATE, ROWS, make_collator, make_rows, make_tokenizer, stock_examples
from hfrep.data.order import Addresses
from hfrep.objectives.base import IGNORED


class MaskingSide:
    """A turn masks a number of batches. Its answers are shares over all of them: of the 126 tokens of a row that are
    no special ones, how many are to be predicted, and of these, how many are masked and how many left as they are.
    """

    def __init__(self, name: str) -> None:
        self.rows = make_rows()
        self.answers: dict[str, float] = {}
        self.batches = self._ours if name == OURS else self._stock
        self.sums = np.zeros(4)
        self.number = 0
        self.collator = make_collator()
        self.stock = DataCollatorForLanguageModeling(make_tokenizer(), mlm_probability=RATE)
        self.examples = stock_examples(self.rows)

    def turn(self, amount: int) -> Turn:
        began = time.perf_counter()
        batches = [self.batches(number) for number in range(self.number, self.number + amount)]
        seconds = time.perf_counter() - began
        for number, batch in enumerate(batches, self.number):
            ids, labels = dense(batch)["input_ids"], dense(batch)["labels"]
            original = torch.from_numpy(self.rows.tokens[self._indices(number)])
            chosen = labels != IGNORED
            mask = ids == self.collator.mask_id
            self.sums += [ids.numel() * (LENGTH - 2) / LENGTH, chosen.sum(), (chosen & mask).sum(), 0]
            self.sums[3] += int((chosen & (ids == original)).sum())
        tokens, chosen, masked, kept = self.sums
        self.answers = {"chosen": chosen / tokens, "masked": masked / chosen, "kept": kept / chosen}
        self.number += amount
        return Turn(amount * ROWS * LENGTH, seconds)

    def _indices(self, number: int) -> np.ndarray:
        return np.arange(number * ROWS, (number + 1) * ROWS) % len(self.rows)

    def _ours(self, number: int) -> dict[str, torch.Tensor]:
        indices = self._indices(number)
        return self.collator(self.rows.take(indices), Addresses(np.full(ROWS, number), indices, np.zeros(ROWS)))

    def _stock(self, number: int) -> dict[str, torch.Tensor]:
        return self.stock([dict(self.examples[index]) for index in self._indices(number)])


PEER = "DataCollatorForLanguageModeling"
MASKING = Comparison(
    name="masking",
    what=f"masking {ROWS} × {LENGTH} tokens",
    unit="tokens",
    sides={name: functools.partial(MaskingSide, name) for name in (OURS, PEER)},
    goals=[Goal(PEER, 5.0)],
    full=Amount(turn=200, rounds=5, warm_up=20),
    quick=Amount(turn=50, rounds=3, warm_up=5),
    tolerances={"chosen": 0.01, "masked": 0.02, "kept": 0.02},
)
