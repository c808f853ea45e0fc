"""The two sides of a training benchmark: `transformers.Trainer` and the loop's own step, on the same random rows."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from accelerate import Accelerator
from transformers import PreTrainedModel, Trainer, TrainingArguments

from hfrep.data.batches import MicroBatches, batches_from
from hfrep.data.order import Shuffled
from hfrep.data.rows import Rows
from hfrep.objectives.base import Objective
from hfrep.training.loop import LoopSettings
from hfrep.training.optim import OptimizerSettings, build_optimizers
from hfrep.training.step import Gradient

FIRST_WORD = 5  # ids below are special tokens
Steps = Callable[[int], float]  # trains so many steps and returns its tokens a second


class RandomRows:
    """Rows of one full segment of random words: speed does not hang on what the words are."""

    lengths = None
    fingerprint = "random"

    def __init__(self, number: int, length: int, vocabulary: int, begin: int, end: int) -> None:
        self.length = length
        self.tokens = np.random.default_rng(0).integers(FIRST_WORD, vocabulary, (number, length))
        self.tokens[:, 0], self.tokens[:, -1] = begin, end

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        tokens = self.tokens[indices]
        return {"input_ids": tokens, "segments": np.ones_like(tokens), "word_starts": np.ones(tokens.shape, bool)}


def batches_of(objective: Objective, rows: Rows, batch_rows: int) -> Any:
    division = LoopSettings(train_batch_size=batch_rows).division(Accelerator(cpu=True))
    data = MicroBatches(rows, Shuffled(len(rows), 0), division, objective.collator())
    return batches_from(data, step=0, workers=0, pin_memory=False)


def our_side(objective: Objective, rows: Rows, batch_rows: int, length: int, optimizer: str) -> Steps:
    accelerator, settings = Accelerator(cpu=True), OptimizerSettings(optimizer=optimizer)
    module, *optimizers = accelerator.prepare(objective, *build_optimizers(objective, settings))
    gradient = Gradient(accelerator, objective, module.train(), settings.max_grad_norm)
    batches = batches_of(objective, rows, batch_rows)

    def run(steps: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            gradient.accumulate(next(batches), signals=[0.0])
            for one in optimizers:
                one.step()
                one.zero_grad()
        return steps * batch_rows * length / (time.perf_counter() - began)

    return run


def stock_side(model: PreTrainedModel, collator: Any, rows: RandomRows, batch_rows: int, folder: str) -> Steps:
    """What `Trainer` reports is its own clock around its own loop."""
    data = [{"input_ids": row} for row in rows.tokens.tolist()]

    def run(steps: int) -> float:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=batch_rows,
            max_steps=steps,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        trainer = Trainer(model=model, args=arguments, train_dataset=data, data_collator=collator)
        return trainer.train().metrics["train_steps_per_second"] * batch_rows * rows.length

    return run
