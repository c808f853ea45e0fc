"""The two sides of training a language model: `transformers.Trainer`, and the loop's own step, on the same rows."""

import gc
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from comparison import Turn
from torch import Tensor, nn
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments
from where import CPU, Where

from hfrep.data.batches import Division, MicroBatches
from hfrep.data.order import Shuffled
from hfrep.data.rows import Rows
from hfrep.objectives.base import IGNORED, Objective
from hfrep.training.budget import Budget
from hfrep.training.checkpoint import CheckpointSettings
from hfrep.training.launch import ThreadSettings
from hfrep.training.loop import LoopSettings
from hfrep.training.optim import OptimizerSettings
from hfrep.training.record import RecordSettings
from hfrep.training.run import Run

VOCABULARY = 30_522
CHECKED_ROWS = 4  # of the batch that both sides are to find the same loss and gradient on
FIRST_WORD = 5  # ids below are special tokens


class RandomRows:
    """Rows of one full segment of random words: speed does not hang on what the words are."""

    lengths = None
    fingerprint = "random"

    def __init__(self, number: int, length: int, begin: int, end: int, vocabulary: int = VOCABULARY) -> None:
        self.length = length
        self.tokens = np.random.default_rng(0).integers(FIRST_WORD, vocabulary, (number, length))
        self.tokens[:, 0], self.tokens[:, -1] = begin, end

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        tokens = self.tokens[indices]
        return {"input_ids": tokens, "segments": np.ones_like(tokens), "word_starts": np.ones(tokens.shape, bool)}


def micro_batches(objective: Objective, rows: Rows, batch_rows: int) -> MicroBatches:
    division = Division(batch_rows, batch_rows, rank=0, ranks=1)
    return MicroBatches(rows, Shuffled(len(rows), 0), division, objective.collator())


class LoopSide:
    """hfrep: the loop's own step, as a recipe would rehearse it. A turn is a number of optimizer steps."""

    def __init__(self, objective: Objective, rows: Rows, batch_rows: int, optimizer: str, where: Where = CPU) -> None:
        accelerator, self.where = where.accelerator(), where
        ThreadSettings().apply(accelerator.device)  # what the recipes do, however they are launched
        objective.to(where.device)
        batch = where.moved(micro_batches(objective, rows, CHECKED_ROWS)[0])
        with where.precision():
            total, count = objective.eval()(batch), objective.counts(batch)
            self.answers = loss_and_gradient(objective.kept, *(total[term] / count[term] for term in count))
        self.folder = tempfile.TemporaryDirectory()
        groups = (
            LoopSettings(train_batch_size=batch_rows),
            OptimizerSettings(optimizer=optimizer),
            CheckpointSettings(output_dir=self.folder.name),
            RecordSettings(),
        )
        run, budget = Run(accelerator, groups, {}, quiet=True), Budget(steps=1_000_000, minutes=None)
        self.step = run.rehearsal(objective, rows, Shuffled(len(rows), 0), budget)
        self.step_tokens = batch_rows * batch["input_ids"].shape[1]

    def turn(self, amount: int) -> Turn:
        began = self.where.now()
        for _ in range(amount):
            self.step()
        return Turn(amount * self.step_tokens, self.where.now() - began)


class TrainerSide:
    """`transformers.Trainer` with its defaults. A turn is a number of optimizer steps after a first one, which is not
    timed: each turn is a training of its own, with its optimizer and data loader to set up.

    Args:
        examples: what its data set would give, one for each row.
        batch: what both sides are to find the same loss and gradient on: arguments of the class, with ``labels`` at
            all positions.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        collator: Any,
        examples: list[dict[str, Any]],
        batch_rows: int,
        batch: Mapping[str, Tensor],
        where: Where = CPU,
    ) -> None:
        self.where = where
        model.to(where.device)
        self.model, self.collator, self.examples, self.batch_rows = model, collator, examples, batch_rows
        with where.precision():
            self.answers = loss_and_gradient(model, model.eval()(**where.moved(batch)).loss)
        self.folder = tempfile.TemporaryDirectory()

    def turn(self, amount: int) -> Turn:
        gc.collect()  # what the last turn's trainer held
        arguments = TrainingArguments(
            output_dir=self.folder.name,
            per_device_train_batch_size=self.batch_rows,
            max_steps=amount + 1,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            **self.where.arguments(),
        )
        clock = Clock(self.where)
        trainer = Trainer(
            model=self.model,
            args=arguments,
            train_dataset=self.examples,
            data_collator=self.collator,
            callbacks=[clock],
        )
        trainer.train()
        tokens = amount * self.batch_rows * len(self.examples[0]["input_ids"])
        return Turn(tokens, clock.ends[-1] - clock.ends[0])


class Clock(TrainerCallback):
    """When the first step ended, and the last."""

    def __init__(self, where: Where) -> None:
        self.where, self.ends = where, []

    def on_step_end(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step in (1, state.max_steps):
            self.ends.append(self.where.now())


def dense(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A batch of ours as the stock classes take it: ``input_ids`` and ``labels`` [b, L]."""
    ids, labels = batch["input_ids"], batch["labels"]
    if "label_positions" in batch:
        real, places = labels != IGNORED, batch["label_positions"]
        labels = torch.full((ids.numel(),), IGNORED).scatter(0, places[real], batch["labels"][real]).view(ids.shape)
    return {"input_ids": ids, "labels": labels}


def loss_and_gradient(model: nn.Module, loss: Tensor) -> dict[str, float]:
    """The loss, and the Euclidean norm of its gradient by the weights of `model`."""
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    model.zero_grad()
    return {"loss": float(loss.detach()), "gradient norm": float(norm)}
