"""Time to loss: how long hfrep trains until it is where `transformers.Trainer` is after its whole budget.

    python benchmarks/time_to_loss.py masked --corpus wiki.txt --validation_corpus held_out.txt
    python benchmarks/time_to_loss.py causal --corpus wiki.txt --validation_corpus held_out.txt

masked: bert-mini, WordPiece 8k, rows of 128 tokens; the other side 32 a step with its collator at 15 % masks. causal: a
GPT-2 of 8M parameters, byte-level BPE 8k, 16 rows of 256 tokens a step on both sides. The other side trains with the
class's own dropout, AdamW, cosine and warm-up, at each of three learning rates, and its best counts; ours with the
recipe's defaults. Both are judged on the same validation rows, and under the same masks.

First both are timed in turns, and minutes are turned into steps once, so that what else the machine does meanwhile
falls on neither. Ours is then trained from the beginning for shorter and longer budgets, a quarter apart, of which the
shortest that ends at or below the other side's loss is what it takes: a budget's schedule is its own, so a longer run
that passes that loss on its way would say less. All that is found stands in ``--output_dir``, and the same command, of
the same commit, goes on from there; what came of it is kept in benchmarks/results/<machine>.<study>.json.
"""

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from machine import RESULTS, machine_name
from stock_training import OURS, STOCK, Setting, Stock, speeds
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from hfrep.errors import told_in_one_sentence
from hfrep.evaluation.language_modeling import (
    ValidationSettings,
    language_modeling_metrics,
    totals,
    validation_batches,
)
from hfrep.objectives.masking import VALIDATION_SEED
from hfrep.training.launch import usable_cores
from hfrep.training.record import environment

RECIPES = Path(__file__).parents[1] / "recipes"
LEARNING_RATES = (3e-4, 1e-3, 3e-3)
FINER = 1.25  # from one budget of ours to the next
MOST_BUDGETS = 4


@dataclass(frozen=True)
class Study:
    """A kind of model: its recipe, the settings that both sides have, those of the other side alone, and the goal."""

    recipe: str
    shared: tuple[str, ...]
    stock: tuple[str, ...]
    goal: float


STUDIES = {
    "masked": Study("mlm", ("--model", "bert-mini"), ("--train_batch_size", "32"), 5.0),
    "causal": Study("clm", ("--model", "gpt2", "--parameters", "8M"), (), 2.5),
}


class Notes:
    """What has been found so far, in a file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}

    def keep(self, name: str, value: Any) -> Any:
        self.found[name] = value
        self.file.parent.mkdir(parents=True, exist_ok=True)
        aside = self.file.with_suffix(".tmp")
        aside.write_text(json.dumps(self.found, indent=1) + "\n")
        aside.replace(self.file)
        print(f"{name}: {value}", flush=True)
        return value

    def require(self, name: str, value: Any) -> None:
        """Keep `value`, and go on from nothing that was found under another one.

        Raises:
            SystemExit: another one was kept.
        """
        if (kept := self.found.get(name, value)) != value:
            raise SystemExit(f"{self.file}: expected {name} {kept}, found {value}; give another --output_dir")
        self.keep(name, value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=list(STUDIES))
    parser.add_argument("--corpus", nargs="+", help="text; default: the built-in corpus")
    parser.add_argument("--validation_corpus", nargs="+", help="text to judge on; default: documents held out")
    parser.add_argument("--minutes", type=float, default=20, help="budget of the other side")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/time_to_loss"))
    options = parser.parse_args()
    study, folder = STUDIES[options.study], options.output_dir / options.study
    torch.set_num_threads(usable_cores())
    settings = list(study.shared)
    for name in ("corpus", "validation_corpus"):
        if given := getattr(options, name):
            settings += [f"--{name}", *given]
    masked = options.study == "masked"
    stock = Setting([*settings, *study.stock], masked=masked, seed=options.seed)
    ours = Setting(settings, masked=masked, seed=options.seed)
    notes = Notes(folder / "found.json")
    kind = ["--masked"] if masked else []
    flags = {STOCK: [*kind, "--dropout", "--", *settings, *study.stock], OURS: [*kind, "--", *settings]}
    where = {**environment(), "threads": usable_cores()}
    for name, value in {**where, "minutes": options.minutes, "text": stock.text.fingerprint}.items():
        notes.require(name, value)
    rates = notes.found.get("tokens a second") or notes.keep("tokens a second", speeds(flags))
    target = their_loss(stock, notes, folder, rates[STOCK] * 60 * options.minutes)
    minutes = our_minutes(study, settings, ours, notes, folder, rates[OURS], options.minutes, target)
    notes.keep("ratio", None if minutes is None else round(options.minutes / minutes, 2))
    RESULTS.mkdir(exist_ok=True)
    shutil.copy(notes.file, RESULTS / f"{machine_name()}.{options.study}.json")


def their_loss(setting: Setting, notes: Notes, folder: Path, tokens: float) -> float:
    """The lowest loss over the learning rates, in nats per predicted token."""
    steps, losses = round(tokens / setting.step_tokens), {}
    for rate in LEARNING_RATES:
        name = f"Trainer at {rate:g}, {steps} steps"
        if name not in notes.found:
            model, stock = folder / f"stock-{rate:g}-{steps}", Stock(setting, dropout=True)
            stock.train(steps, learning_rate=rate, folder=str(model), save_steps=100)
            stock.save(str(model))
            notes.keep(name, judged(setting, model))
        losses[rate] = notes.found[name]
    return min(losses.values())


def judged(setting: Setting, folder: Path) -> float:
    """Loss of the model in `folder` on the recipe's validation rows and masks.

    It was trained on rows whose documents see each other: judged so, and with each by itself, the lower counts.
    """
    model = (AutoModelForMaskedLM if setting.masked else AutoModelForCausalLM).from_pretrained(folder).eval()
    rate, accelerator, losses = setting.masking.eval_mlm_probability, Accelerator(cpu=True), []
    for documents in ("isolate", "join"):
        objective = setting.objective(model, (rate, rate), VALIDATION_SEED, documents).eval()
        rows = validation_batches(setting.text.validation, objective.collator(), ValidationSettings(), accelerator)
        sums = totals(objective, objective, rows, accelerator)
        losses.append(language_modeling_metrics(sums, "mlm" if setting.masked else "clm")["eval_loss"])
    return min(losses)


def our_minutes(
    study: Study,
    settings: list[str],
    setting: Setting,
    notes: Notes,
    folder: Path,
    speed: float,
    budget: float,
    target: float,
) -> float | None:
    """The shortest budget, in minutes, that ends at or below `target`; None where none of those tried does."""
    place, best = 0, None
    for _ in range(MOST_BUDGETS):
        minutes = budget / study.goal * FINER**place
        steps = round(minutes * 60 * speed / setting.step_tokens)
        name = f"hfrep, {minutes:.2f} minutes, {steps} steps"
        if name not in notes.found:
            run = folder / f"hfrep-{steps}"
            command = [sys.executable, str(RECIPES / f"{study.recipe}.py"), *settings, "--max_steps", str(steps)]
            own = ["--seed", str(setting.seed), "--save_steps", "200", "--output_dir", str(run)]
            subprocess.run([*command, *own], check=True, stdout=subprocess.DEVNULL)
            notes.keep(name, json.loads((run / "run.json").read_text())["metrics"]["eval_loss"])
        reached = notes.found[name] <= target
        if reached:
            best = minutes
        if (place > 0 and reached) or (place < 0 and not reached):
            break
        place += -1 if reached else 1
    return best


if __name__ == "__main__":
    with told_in_one_sentence():
        main()
