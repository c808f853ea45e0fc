"""Adapting to a GLUE task against `transformers.Trainer`: speed and quality of the whole work, side by side.

    python benchmarks/adaptation.py full   --model_name_or_path DIR --data GLUE --task mrpc --seeds 0 1 2
    python benchmarks/adaptation.py lora   --model_name_or_path DIR --data GLUE --task sst2 --learning_rate 1e-3
    python benchmarks/adaptation.py frozen --model_name_or_path DIR --data GLUE --task sst2 --num_train_epochs 5

Both sides start from the same body with the same head, hyperparameters, batch, threads and number of epochs, take turns
seed by seed, and predict the validation split at the end. Timed is all from tokenized examples to these predictions.

``full`` trains every weight of the stock class, ``lora`` the adapter that hfrep makes by default. ``frozen`` trains one
linear layer on the mean of the last layer's vectors; on both sides the body is in eval mode and without gradients. The
stock side computes it anew in each epoch; ours once, into a fresh cache.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from transformers import AutoModel, DataCollatorWithPadding, Trainer, TrainingArguments, set_seed
from transformers.modeling_outputs import SequenceClassifierOutput

from hfrep.adaptation import ADAPTATIONS
from hfrep.adaptation.adapters import AdapterSettings, add_adapter
from hfrep.adaptation.base import FeatureSettings, FineTuningSettings, Problem
from hfrep.adaptation.fit import Fitter, TrainingSettings
from hfrep.adaptation.saved import base_name, open_body
from hfrep.data.examples import Examples, encode
from hfrep.data.tokenizer import load_tokenizer
from hfrep.tasks.reading import TaskSettings, open_task
from hfrep.training.budget import BudgetSettings
from hfrep.training.checkpoint import CheckpointSettings
from hfrep.training.launch import quiet_libraries, usable_cores
from hfrep.training.loop import LoopSettings
from hfrep.training.record import RecordSettings

LENGTH = 128  # tokens
EVALUATION_BATCH = 64  # of the stock side


class Turn(NamedTuple):
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
    return body.model if name == "full" else add_adapter(body, problem.adapters, base=base_name(problem.model))


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


def stock_turn(options: argparse.Namespace, problem: Problem, examples: dict[str, Examples]) -> Turn:
    model = stock_model(options.adaptation, problem)
    train, validation = as_dataset(examples["train"]), as_dataset(examples["validation"])
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=options.train_batch_size,
            per_device_eval_batch_size=EVALUATION_BATCH,
            learning_rate=options.learning_rate,
            num_train_epochs=options.num_train_epochs,
            warmup_steps=0.1,
            weight_decay=options.weight_decay,
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
    return Turn(seconds, float((predicted.predictions.argmax(-1) == predicted.label_ids).mean()))


def our_turn(options: argparse.Namespace, problem: Problem, examples: dict[str, Examples]) -> Turn:
    settings = TrainingSettings(
        LoopSettings(train_batch_size=options.train_batch_size),
        BudgetSettings(num_train_epochs=options.num_train_epochs),
        FineTuningSettings(weight_decay=options.weight_decay),
        CheckpointSettings(save_steps=1_000_000),
        RecordSettings(logging_steps=1_000),
    )
    adaptation = ADAPTATIONS[options.adaptation]
    (candidates,) = adaptation.groups(problem, [options.learning_rate])
    judged = {"validation": examples["validation"]}
    began = time.perf_counter()
    fit = Fitter(Accelerator(cpu=True), settings).fit(
        problem, adaptation, candidates, examples["train"], judged, problem.cache / "run"
    )
    seconds = time.perf_counter() - began
    predicted = fit.logits["validation"][:, 0].argmax(-1)
    return Turn(seconds, float((predicted == examples["validation"].targets).mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adaptation", choices=list(ADAPTATIONS))
    parser.add_argument("--model_name_or_path", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--task", default="mrpc")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--learning_rate", type=float, default=1e-4)
    parser.add_argument("--num_train_epochs", type=float, default=3)
    parser.add_argument("--train_batch_size", type=int, default=32)
    parser.add_argument("--weight_decay", type=float, default=0.0)
    parser.add_argument("--dropout", type=float, help="on both sides; default: what the model's config says")
    parser.add_argument("--max_train_examples", type=int)
    parser.add_argument("--threads", type=int, default=usable_cores())
    options = parser.parse_args()
    quiet_libraries()
    torch.set_num_threads(options.threads)
    tokenizer = load_tokenizer(options.model_name_or_path, own_pad=False)
    data = open_task(
        options.task,
        TaskSettings(task=[options.task], data=options.data, max_train_examples=options.max_train_examples),
    )
    examples = {
        name: encode(tokenizer, data.splits[name].texts, data.splits[name].targets, max_length=LENGTH)
        for name in ("train", "validation")
    }
    turns: dict[str, list[Turn]] = {"transformers.Trainer": [], "hfrep": []}
    for seed in options.seeds:
        for name, turn in (("transformers.Trainer", stock_turn), ("hfrep", our_turn)):
            with tempfile.TemporaryDirectory() as folder:
                problem = Problem(
                    model=options.model_name_or_path,
                    task=data.task,
                    tokenizer=tokenizer,
                    features=FeatureSettings(),
                    adapters=AdapterSettings(),
                    dropout=options.dropout,
                    cache=Path(folder),
                    device=torch.device("cpu"),
                    seed=seed,
                )
                turns[name].append(turn(options, problem, examples))
            print(
                f"seed {seed} {name:<22} {turns[name][-1].seconds:7.1f} s, {turns[name][-1].accuracy:.2%}", flush=True
            )
    ratios = [theirs.seconds / mine.seconds for theirs, mine in zip(*turns.values(), strict=True)]
    for name, done in turns.items():
        accuracies = [turn.accuracy for turn in done]
        print(
            f"{name:<22} {statistics.median(turn.seconds for turn in done):7.1f} s, "
            f"accuracy {statistics.mean(accuracies):.2%} ({', '.join(f'{one:.2%}' for one in accuracies)})"
        )
    print(
        f"{options.adaptation}, {data.task.title}, {len(examples['train']):,} examples, {options.num_train_epochs:g} "
        f"epochs, {torch.get_num_threads()} threads: {statistics.median(ratios):.2f} × as fast"
    )


if __name__ == "__main__":
    main()
