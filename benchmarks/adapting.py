"""The two sides of adapting a model to a task: `transformers.Trainer`, and what `recipes/glue.py` does.

Both start from the same body with the same head, hyperparameters, batch, threads and number of epochs. Timed is all
from tokenized examples to predictions for the validation split.

``full`` trains every weight of the stock class, ``lora`` the adapter that hfrep makes by default. ``frozen`` trains one
linear layer on the mean of the last layer's vectors; on both sides the body is in eval mode and without gradients. The
stock side computes it anew in each epoch; ours once, into a fresh cache.
"""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from transformers import AutoModel, DataCollatorWithPadding, Trainer, TrainingArguments, set_seed
from transformers.modeling_outputs import SequenceClassifierOutput

from hfrep.adaptation import ADAPTATIONS
from hfrep.adaptation.adapters import add_adapter
from hfrep.adaptation.base import FineTuningSettings, Problem
from hfrep.adaptation.fit import Fitter, TrainingSettings
from hfrep.adaptation.saved import open_body
from hfrep.data.examples import Examples
from hfrep.training.budget import BudgetSettings
from hfrep.training.checkpoint import CheckpointSettings
from hfrep.training.loop import LoopSettings
from hfrep.training.record import RecordSettings

EVALUATION_BATCH = 64  # of the stock side


@dataclass(frozen=True)
class Hyperparameters:
    """What both sides train with."""

    learning_rate: float
    num_train_epochs: float
    train_batch_size: int = 32
    weight_decay: float = 0.0


class Outcome(NamedTuple):
    seconds: float
    accuracy: float


class FrozenBody(nn.Module):
    """A body that stays in eval mode, and a linear layer on the mean of its last vectors."""

    def __init__(self, name: str, outputs: int) -> None:
        super().__init__()
        self.body = AutoModel.from_pretrained(name).requires_grad_(False)
        self.head = nn.Linear(self.body.config.hidden_size, outputs)

    def train(self, mode: bool = True) -> "FrozenBody":
        super().train(mode)
        self.body.eval()
        return self

    def forward(self, attention_mask: torch.Tensor, labels: torch.Tensor, **inputs: torch.Tensor) -> object:
        with torch.no_grad():
            states = self.body(attention_mask=attention_mask, **inputs).last_hidden_state
        mask = attention_mask[..., None]
        logits = self.head((states * mask).sum(1) / mask.sum(1))
        return SequenceClassifierOutput(loss=nn.functional.cross_entropy(logits, labels), logits=logits)


def stock_model(name: str, problem: Problem) -> nn.Module:
    """What the stock side trains."""
    set_seed(problem.seed)
    if name == "frozen":
        return FrozenBody(problem.model, problem.task.outputs)
    body = open_body(problem)
    return body.model if name == "full" else add_adapter(body, problem.adapters, base=problem.model)


def as_dataset(examples: Examples) -> list[dict[str, object]]:
    """The examples one by one, without padding, as the stock collator takes them."""
    rows = []
    for number, length in enumerate(examples.lengths):
        row = {
            name: part[0, :length].tolist()
            for name, part in examples.take(np.array([number])).items()
            if part.ndim == 2
        }
        rows.append(row | {"labels": int(examples.targets[number])})
    return rows


def stock_fit(adaptation: str, problem: Problem, examples: Mapping[str, Examples], how: Hyperparameters) -> Outcome:
    model = stock_model(adaptation, problem)
    train, validation = as_dataset(examples["train"]), as_dataset(examples["validation"])
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=how.train_batch_size,
            per_device_eval_batch_size=EVALUATION_BATCH,
            learning_rate=how.learning_rate,
            num_train_epochs=how.num_train_epochs,
            warmup_steps=0.1,
            weight_decay=how.weight_decay,
            seed=problem.seed,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        collator = DataCollatorWithPadding(problem.tokenizer)
        trainer = Trainer(model=model, args=arguments, train_dataset=train, data_collator=collator)
        began = time.perf_counter()
        trainer.train()
        predicted = trainer.predict(validation)
        seconds = time.perf_counter() - began
    return Outcome(seconds, float((predicted.predictions.argmax(-1) == predicted.label_ids).mean()))


def our_fit(adaptation: str, problem: Problem, examples: Mapping[str, Examples], how: Hyperparameters) -> Outcome:
    settings = TrainingSettings(
        LoopSettings(train_batch_size=how.train_batch_size),
        BudgetSettings(num_train_epochs=how.num_train_epochs),
        FineTuningSettings(weight_decay=how.weight_decay),
        CheckpointSettings(save_steps=1_000_000),
        RecordSettings(logging_steps=1_000),
    )
    adapt = ADAPTATIONS[adaptation]
    (candidates,) = adapt.groups(problem, [how.learning_rate])
    judged = {"validation": examples["validation"]}
    began = time.perf_counter()
    fit = Fitter(Accelerator(cpu=True), settings).fit(
        problem, adapt, candidates, examples["train"], judged, problem.cache / "run"
    )
    seconds = time.perf_counter() - began
    predicted = fit.logits["validation"][:, 0].argmax(-1)
    return Outcome(seconds, float((predicted == examples["validation"].targets).mean()))
