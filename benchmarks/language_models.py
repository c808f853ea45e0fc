"""The two sides of training a language model: `transformers.Trainer`, and the loop's own step, on the same rows."""

import tempfile
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from comparison import Turn
from torch import Tensor
from transformers import PreTrainedModel, Trainer, TrainingArguments

from hfrep.data.batches import MicroBatches, batches_from
from hfrep.data.order import Shuffled
from hfrep.data.rows import Rows
from hfrep.objectives.base import IGNORED, Objective
from hfrep.training.launch import ThreadSettings
from hfrep.training.loop import LoopSettings
from hfrep.training.optim import OptimizerSettings, build_optimizers
from hfrep.training.step import Gradient

VOCABULARY = 30_522
FIRST_WORD = 5  # ids below are special tokens


class RandomRows:
    """Rows of one full segment of random words: speed does not hang on what the words are."""

    lengths = None
    fingerprint = "random"

    def __init__(self, number: int, length: int, begin: int, end: int) -> None:
        self.length = length
        self.tokens = np.random.default_rng(0).integers(FIRST_WORD, VOCABULARY, (number, length))
        self.tokens[:, 0], self.tokens[:, -1] = begin, end

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        tokens = self.tokens[indices]
        return {"input_ids": tokens, "segments": np.ones_like(tokens), "word_starts": np.ones(tokens.shape, bool)}


def micro_batches(objective: Objective, rows: Rows, batch_rows: int) -> MicroBatches:
    division = LoopSettings(train_batch_size=batch_rows).division(Accelerator(cpu=True))
    return MicroBatches(rows, Shuffled(len(rows), 0), division, objective.collator())


class LoopSide:
    """hfrep: the loop's own step, behind the addressed loader. A turn is a number of optimizer steps."""

    def __init__(self, objective: Objective, rows: Rows, batch_rows: int, optimizer: str) -> None:
        accelerator = Accelerator(cpu=True)
        ThreadSettings().apply(accelerator.device)  # what the recipes do, however they are launched
        settings = OptimizerSettings(optimizer=optimizer)
        data = micro_batches(objective, rows, batch_rows)
        self.answers = {"loss": _mean_loss(objective, data[0])}
        module, *self.optimizers = accelerator.prepare(objective, *build_optimizers(objective, settings))
        self.gradient = Gradient(accelerator, objective, module.train(), settings.max_grad_norm)
        self.batches = batches_from(data, step=0, workers=0, pin_memory=False)
        self.step_tokens = batch_rows * rows.take(np.zeros(1, np.int64))["input_ids"].shape[1]

    def turn(self, amount: int) -> Turn:
        began = time.perf_counter()
        for _ in range(amount):
            self.gradient.accumulate(next(self.batches), signals=[0.0])
            for one in self.optimizers:
                one.step()
                one.zero_grad()
        return Turn(amount * self.step_tokens, time.perf_counter() - began)


class TrainerSide:
    """`transformers.Trainer` with its defaults. A turn is a number of optimizer steps, timed by its own clock.

    Args:
        examples: what its data set would give, one for each row.
        batch: what both sides are to find the same loss on: arguments of the class, with ``labels`` at all positions.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        collator: Any,
        examples: list[dict[str, Any]],
        batch_rows: int,
        batch: Mapping[str, Tensor],
    ) -> None:
        self.model, self.collator, self.examples, self.batch_rows = model, collator, examples, batch_rows
        with torch.no_grad():
            self.answers = {"loss": float(model.eval()(**batch).loss)}
        self.folder = tempfile.TemporaryDirectory()

    def turn(self, amount: int) -> Turn:
        arguments = TrainingArguments(
            output_dir=self.folder.name,
            per_device_train_batch_size=self.batch_rows,
            max_steps=amount,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        trainer = Trainer(model=self.model, args=arguments, train_dataset=self.examples, data_collator=self.collator)
        seconds = trainer.train().metrics["train_runtime"]
        return Turn(amount * self.batch_rows * len(self.examples[0]["input_ids"]), seconds)


def dense(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A batch of ours as the stock classes take it: ``input_ids`` and ``labels`` [b, L]."""
    ids, labels = batch["input_ids"], batch["labels"]
    if "label_positions" in batch:
        real, places = labels != IGNORED, batch["label_positions"]
        labels = torch.full((ids.numel(),), IGNORED).scatter(0, places[real], batch["labels"][real]).view(ids.shape)
    return {"input_ids": ids, "labels": labels}


def _mean_loss(objective: Objective, batch: Mapping[str, Tensor]) -> float:
    with torch.no_grad():
        (total, *_), (count,) = objective.eval()(batch).values(), objective.counts(batch).values()
    return float(total / count)
