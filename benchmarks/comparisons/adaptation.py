"""Adapting a fresh bert-mini (vocabulary 30,522, dropout as published) to tasks made up in the shape of real ones.

Sentences are random words, in lengths that follow those of the real task, some of them words of the class: a task that
both sides learn, so that they can be seen to come to the same accuracy.
"""

import functools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from adapting import Hyperparameters, our_fit, stock_fit
from comparison import OURS, Amount, Comparison, Goal, Turn
from language_models import FIRST_WORD, VOCABULARY
from transformers import PreTrainedTokenizerFast

from comparisons.masked_training import make_objective, make_tokenizer
from hfrep.adaptation.adapters import AdapterSettings
from hfrep.adaptation.base import FeatureSettings, Problem
from hfrep.data.examples import Examples, encode
from hfrep.tasks.base import Task

# Tokens of a sentence of the training split, without special tokens, by BERT's uncased tokenizer: smallest, deciles,
# largest.
MRPC = (7, 16, 19, 21, 23, 25, 27, 29, 31, 34, 50)  # of each sentence of a pair
SST2, SST2_ROWS = (1, 2, 4, 5, 6, 8, 11, 14, 18, 25, 64), 67_349
TOPIC, TOPIC_WORDS = 0.3, 20  # share of words that are among the class's own, and how many it has
VALIDATION_ROWS = 872


@dataclass(frozen=True)
class Made:
    """A task of made-up sentences: lengths of each text column by their deciles."""

    name: str
    deciles: Sequence[int]
    columns: int

    @property
    def task(self) -> Task:
        columns = tuple(f"sentence{number + 1}" for number in range(self.columns))
        return Task(
            name=self.name,
            title=self.name,
            text_columns=columns,
            labels=("first", "second"),
            metrics=("accuracy",),
        )

    def examples(self, tokenizer: PreTrainedTokenizerFast, number: int, seed: int) -> Examples:
        draw = np.random.default_rng(seed)
        targets = draw.integers(0, 2, number)
        columns = [[self._sentence(draw, target) for target in targets] for _ in range(self.columns)]
        return encode(tokenizer, columns, targets, max_length=128)

    def _sentence(self, draw: np.random.Generator, target: int) -> str:
        length = round(np.interp(draw.random(), np.linspace(0, 1, len(self.deciles)), self.deciles))
        words = draw.integers(0, VOCABULARY - FIRST_WORD, max(1, length))
        topical = draw.random(len(words)) < TOPIC
        topical[0] = True  # at least one word tells
        words[topical] = words[topical] % TOPIC_WORDS + TOPIC_WORDS * target
        return " ".join(f"w{word}" for word in words)


class AdaptationSide:
    """A turn trains on a number of examples, so many epochs, and predicts the validation split.

    Args:
        fit: `adapting.our_fit` or `adapting.stock_fit`.
    """

    def __init__(self, fit: Callable, adaptation: str, made: Made, how: Hyperparameters) -> None:
        self.fit, self.adaptation, self.made, self.how = fit, adaptation, made, how
        self.tokenizer = make_tokenizer()
        self.folder = tempfile.TemporaryDirectory()
        model = make_objective().kept
        model.save_pretrained(self.folder.name)
        self.tokenizer.save_pretrained(self.folder.name)
        self.validation = made.examples(self.tokenizer, VALIDATION_ROWS, seed=1)
        self.train: dict[int, Examples] = {}
        self.answers: Mapping[str, float] = {}

    def turn(self, amount: int) -> Turn:
        if amount not in self.train:
            self.train[amount] = self.made.examples(self.tokenizer, amount, seed=0)
        with tempfile.TemporaryDirectory() as cache:
            problem = Problem(
                model=self.folder.name,
                task=self.made.task,
                tokenizer=self.tokenizer,
                features=FeatureSettings(),
                adapters=AdapterSettings(),
                dropout=None,
                cache=Path(cache),
                device=torch.device("cpu"),
            )
            examples = {"train": self.train[amount], "validation": self.validation}
            outcome = self.fit(self.adaptation, problem, examples, self.how)
        self.answers = {"accuracy": outcome.accuracy}
        return Turn(amount * self.how.num_train_epochs, outcome.seconds)


def sides(adaptation: str, made: Made, how: Hyperparameters) -> dict[str, Callable[[], AdaptationSide]]:
    return {
        OURS: functools.partial(AdaptationSide, our_fit, adaptation, made, how),
        "Trainer": functools.partial(AdaptationSide, stock_fit, adaptation, made, how),
    }


FULL = Comparison(
    name="full_fine_tuning",
    what="full fine-tuning, bert-mini, lengths of MRPC",
    unit="examples",
    sides=sides("full", Made("mrpc", MRPC, 2), Hyperparameters(learning_rate=3e-4, num_train_epochs=1)),
    goals=[Goal("Trainer", 1.8)],
    full=Amount(turn=1536, rounds=3, warm_up=128),
    quick=Amount(turn=256, rounds=1, warm_up=64),
    tolerances={"accuracy": 0.03},
)
LORA = Comparison(
    name="lora_fine_tuning",
    what="LoRA fine-tuning, bert-mini, lengths of MRPC",
    unit="examples",
    sides=sides("lora", Made("mrpc", MRPC, 2), Hyperparameters(learning_rate=3e-3, num_train_epochs=1)),
    goals=[Goal("Trainer", 1.5, memory=0.8)],
    full=Amount(turn=1536, rounds=3, warm_up=128),
    quick=Amount(turn=256, rounds=1, warm_up=64),
    tolerances={"accuracy": 0.03},
)
FROZEN = Comparison(
    name="frozen",
    what=f"frozen body, 5 epochs of {SST2_ROWS:,} examples in the lengths of SST-2",
    unit="examples",
    sides=sides("frozen", Made("sst2", SST2, 1), Hyperparameters(learning_rate=1e-2, num_train_epochs=5)),
    goals=[Goal("Trainer", 20.0)],
    full=Amount(turn=SST2_ROWS, rounds=1, warm_up=512),
    quick=Amount(turn=2048, rounds=1, warm_up=128),
    tolerances={"accuracy": 0.003},
)
