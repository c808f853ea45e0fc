"""Minimal pairs by the pseudo-log-likelihood of bert-mini: against one masked copy for each token, batched.

Pairs are of random words, in lengths that follow those of BLiMP, and differ in one word.
"""

import time

import numpy as np
import torch
from comparison import LIKELIHOOD_TOLERANCES, OURS, Amount, Comparison, Goal, Turn, likelihood_answers
from language_models import FIRST_WORD, VOCABULARY

from comparisons.masked_training import make_objective, make_tokenizer
from hfrep.evaluation.minimal_pairs import MinimalPair, judge
from hfrep.evaluation.pseudo_likelihood import pseudo_log_likelihoods

# Tokens of BLiMP's sentences by BERT's uncased tokenizer: smallest, deciles, largest of sentence_good.
BLIMP = (3, 6, 7, 7, 8, 9, 10, 11, 13, 15, 27)
BATCH = 64  # copies at a time, of the other side


def make_pairs(number: int) -> list[MinimalPair]:
    draw = np.random.default_rng(0)
    pairs = []
    for _ in range(number):
        length = round(np.interp(draw.random(), np.linspace(0, 1, len(BLIMP)), BLIMP))
        good = draw.integers(0, VOCABULARY - FIRST_WORD, length)
        bad = good.copy()
        bad[draw.integers(length)] = draw.integers(0, VOCABULARY - FIRST_WORD)
        pairs.append(MinimalPair(*(" ".join(f"w{word}" for word in words) for words in (good, bad)), "random"))
    return pairs


class PairsSide:
    """A turn judges a number of pairs."""

    def __init__(self) -> None:
        self.model, self.tokenizer = make_objective().kept.eval(), make_tokenizer()
        self.answers: dict[str, float] = {}

    def turn(self, amount: int) -> Turn:
        pairs = make_pairs(amount)
        texts = [pair.good for pair in pairs] + [pair.bad for pair in pairs]
        began = time.perf_counter()
        nats = self.nats(texts)
        accuracy = judge(pairs, nats[:amount], nats[amount:]).overall.accuracy
        seconds = time.perf_counter() - began
        self.answers = likelihood_answers(nats, accuracy)
        return Turn(amount, seconds)

    def nats(self, texts: list[str]) -> np.ndarray:
        return pseudo_log_likelihoods(self.model, self.tokenizer, texts).nats


class Copies(PairsSide):
    """One masked copy of its sentence for each token, so many at a time, as they come."""

    @torch.inference_mode()
    def nats(self, texts: list[str]) -> np.ndarray:
        copies, owners, places = [], [], []
        for number, text in enumerate(texts):
            ids = self.tokenizer(text)["input_ids"]
            for place in range(1, len(ids) - 1):
                copies.append(ids)
                owners.append(number)
                places.append(place)
        totals = np.zeros(len(texts))
        for first in range(0, len(copies), BATCH):
            batch = self.tokenizer.pad({"input_ids": copies[first : first + BATCH]}, return_tensors="pt")
            rows, columns = torch.arange(len(batch["input_ids"])), torch.tensor(places[first : first + BATCH])
            wanted = batch["input_ids"][rows, columns]
            batch["input_ids"][rows, columns] = self.tokenizer.mask_token_id
            scores = self.model(**batch).logits[rows, columns].log_softmax(-1)[rows, wanted]
            np.add.at(totals, owners[first : first + BATCH], scores.double().numpy())
        return totals


MINIMAL_PAIRS = Comparison(
    name="minimal_pairs",
    what="minimal pairs in the lengths of BLiMP, bert-mini",
    unit="pairs",
    sides={OURS: PairsSide, "masked copies": Copies},
    goals=[Goal("masked copies", 3.0)],
    full=Amount(turn=300, rounds=3, warm_up=20),
    quick=Amount(turn=40, rounds=2, warm_up=10),
    tolerances=LIKELIHOOD_TOLERANCES,
)
