"""Training by `transformers.Trainer` on the rows that a recipe trains on, and the speed of both on them.

    python benchmarks/stock_training.py --time --minutes 30 -- --corpus a.txt b.txt --corpus_weights 0.6 0.4 \
        --model gpt2 --parameters 8M
    python benchmarks/stock_training.py --steps 500 --learning_rate 1e-3 --seed 0 --output_dir runs/stock -- (the same)

The stock side gets the recipe's tokenizer, configuration and packed rows in the same order of corpora, and its own
collator with its defaults; AdamW, cosine with 5 % warm-up. ``--time`` measures both sides in turns and prints the
optimizer steps that each takes in ``--minutes``, so that what else a machine does falls on both: then each side may
train for its number of steps at any time, the recipe with ``--max_steps``. What stands behind ``--`` are settings of
recipes/clm.py, or with ``--masked`` of recipes/mlm.py.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from comparison import OURS, Turn
from language_models import Clock, LoopSide
from process import Process, serve
from torch.utils.data import Dataset, SequentialSampler
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    DataCollatorForLanguageModeling,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint
from where import CPU

from hfrep.data.blocks import BlockSettings
from hfrep.data.corpus import CorpusSettings
from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.data.text import Text, pack_text
from hfrep.data.tokenizer import load_tokenizer
from hfrep.errors import told_in_one_sentence
from hfrep.models.isolation import Documents
from hfrep.models.presets import CausalModelSettings, MaskedModelSettings, build_model, set_dropout
from hfrep.objectives.base import Objective
from hfrep.objectives.clm import CausalLM, CausalLMCollator
from hfrep.objectives.masking import MaskedLMCollator, MaskingSettings, special_tokens
from hfrep.objectives.mlm import MaskedLM
from hfrep.settings import parse
from hfrep.training.launch import quiet_libraries, usable_cores
from hfrep.training.loop import LoopSettings

STOCK = "transformers.Trainer"
TOKENIZERS = Path(__file__).parents[1] / "tokenizers"


class Positions(Dataset):
    """Item i is the row that stands at position i of the recipe's stream, as the example scripts' data sets give it."""

    def __init__(self, text: Text, number: int, special: np.ndarray) -> None:
        self.text, self.number, self.special = text, number, special

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, position: int) -> dict[str, list[int]]:
        _, rows = self.text.order(np.array([position]))
        row = self.text.training.take(rows)
        tokens = row["input_ids"][0]
        return {
            "input_ids": tokens.tolist(),
            "attention_mask": (row["segments"][0] > 0).astype(int).tolist(),
            "special_tokens_mask": self.special[tokens].astype(int).tolist(),
        }


class InOrder(Trainer):
    """A `Trainer` that takes the rows in the order of the data set, which is shuffled already."""

    def _get_train_sampler(self, *_: object) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


class Setting:
    """What both sides have in common.

    Args:
        settings: flags of the recipe.
    """

    def __init__(self, settings: list[str], *, masked: bool, seed: int) -> None:
        quiet_libraries()
        self.masked, self.seed = masked, seed
        defaults = {
            "tokenizer": str(TOKENIZERS / ("wordpiece-8k" if masked else "bpe-8k")),
            "sequence_length": 128 if masked else 256,
        }
        shapes = MaskedModelSettings if masked else CausalModelSettings
        groups = (CorpusSettings, BlockSettings, shapes, LoopSettings, MaskingSettings)
        corpora, cut, shape, self.loop, self.masking = parse(*groups, argv=settings, defaults=defaults)
        self.shape = shape.or_default("bert-mini" if masked else "gpt2-mini")
        tokenizer = load_tokenizer(cut.tokenizer)
        self.tokenizer = tokenizer if masked else decoder_tokenizer(tokenizer)
        self.tokenizer.model_max_length = cut.sequence_length
        self.text = pack_text(corpora, cut, self.tokenizer, seed=seed, causal=not masked)
        self.length = cut.sequence_length

    @property
    def step_tokens(self) -> int:
        return self.loop.train_batch_size * self.length

    def model(self, *, dropout: bool) -> PreTrainedModel:
        """A fresh one; with the class's own dropout, or none."""
        torch.manual_seed(self.seed)
        auto_class = AutoModelForMaskedLM if self.masked else AutoModelForCausalLM
        made = build_model(self.shape, tokenizer=self.tokenizer, sequence_length=self.length, auto_class=auto_class)
        fresh = type(made)(made.config)
        if not dropout:
            set_dropout(fresh, 0.0)
        return fresh

    def objective(
        self, model: PreTrainedModel, rates: tuple[float, float], seed: int, documents: Documents = "isolate"
    ) -> Objective:
        if not self.masked:
            return CausalLM(model, CausalLMCollator(), documents=documents)
        collator = MaskedLMCollator.of(self.tokenizer, rates=rates, by="token", seed=seed)
        return MaskedLM(model, collator, documents=documents)


class Stock:
    """The stock side. A turn is a number of steps after a first one, which is not timed."""

    def __init__(self, setting: Setting, *, dropout: bool) -> None:
        self.setting: Setting = setting
        self.answers: Mapping[str, float] = {}
        self.model = setting.model(dropout=dropout)

    def turn(self, amount: int) -> Turn:
        clock = Clock(CPU)
        with tempfile.TemporaryDirectory() as folder:
            self.train(amount + 1, learning_rate=1e-3, folder=folder, clock=clock)
        return Turn(amount * self.setting.step_tokens, clock.ends[-1] - clock.ends[0])

    def train(
        self, steps: int, *, learning_rate: float, folder: str, save_steps: int = 0, clock: Clock | None = None
    ) -> None:
        """Train so many steps, or the rest of them after the last checkpoint in `folder`."""
        setting = self.setting
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=setting.loop.train_batch_size,
            max_steps=steps,
            learning_rate=learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=0.05,
            seed=setting.seed,
            use_cpu=True,
            report_to="none",
            save_strategy="steps" if save_steps else "no",
            save_steps=save_steps or 1,
            save_total_limit=1,
            logging_steps=25,
            disable_tqdm=True,
        )
        positions = Positions(setting.text, steps * setting.loop.train_batch_size, special_tokens(setting.tokenizer))
        collator = DataCollatorForLanguageModeling(setting.tokenizer, mlm=setting.masked)
        trainer = InOrder(
            model=self.model,
            args=arguments,
            train_dataset=positions,
            data_collator=collator,
            callbacks=[clock] if clock else None,
        )
        last = get_last_checkpoint(folder) if Path(folder).is_dir() else None
        trainer.train(resume_from_checkpoint=last)

    def save(self, folder: str) -> None:
        self.model.save_pretrained(folder)
        self.setting.tokenizer.save_pretrained(folder)


def speeds(settings: Mapping[str, Sequence[str]], *, rounds: int = 4, steps: int = 8) -> dict[str, float]:
    """Tokens a second of both sides, in processes of their own, by turns of some steps; the first turn warms up.

    Args:
        settings: of each side, what this script takes.
    """
    command = [sys.executable, __file__, "--serve"]
    found: dict[str, list[float]] = {name: [] for name in (STOCK, OURS)}
    with ExitStack() as sides_to_close:
        sides = {}
        for name in found:
            sides[name] = Process(name, [*command, name, *settings[name]])
            sides_to_close.callback(sides[name].close)
        for side in sides.values():
            side.wait()
        for _ in range(rounds):
            for name, side in sides.items():
                turn = side.turn(steps)
                found[name].append(turn.units / turn.seconds)
    return {name: statistics.median(values[1:]) for name, values in found.items()}


def our_side(setting: Setting) -> LoopSide:
    objective = setting.objective(setting.model(dropout=False), setting.masking.rates, setting.seed)
    return LoopSide(objective, setting.text.training, setting.loop.train_batch_size, "muon")


def main() -> None:
    own = sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    rest = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", action="store_true", help="measure both sides instead of training")
    parser.add_argument("--serve", choices=[STOCK, OURS], help=argparse.SUPPRESS)
    parser.add_argument("--masked", action="store_true", help="a masked model instead of a causal one")
    parser.add_argument("--dropout", action="store_true", help="with the class's own dropout; default: none, as ours")
    parser.add_argument("--minutes", type=float, default=30, help="that --time converts to steps")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--output_dir", default="runs/stock")
    options = parser.parse_args(own)
    torch.set_num_threads(options.threads)
    setting = Setting(rest, masked=options.masked, seed=options.seed)
    if options.serve:
        serve(lambda: our_side(setting) if options.serve == OURS else Stock(setting, dropout=options.dropout))
        return
    if options.time:
        same = sys.argv[1:]
        for name, speed in speeds({STOCK: same, OURS: same}).items():
            steps = speed * 60 * options.minutes / setting.step_tokens
            print(f"{name:<22} {speed:8,.0f} tokens/s   {steps:,.0f} steps in {options.minutes:g} minutes")
        return
    stock = Stock(setting, dropout=options.dropout)
    print(setting.shape.describe(stock.model), flush=True)
    stock.train(options.steps, learning_rate=options.learning_rate, folder=options.output_dir, save_steps=50)
    stock.save(options.output_dir)
    print(f"{options.steps} steps: {options.output_dir}")


if __name__ == "__main__":
    with told_in_one_sentence():
        main()
