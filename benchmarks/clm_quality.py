"""What `transformers.Trainer` learns from the rows that `recipes/clm.py` trains on, in the time that it would take.

The stock side gets the same tokenizer, configuration (dropout 0, which is what ours trains with), packed rows in the
same order of corpora, rows per step and threads; AdamW, cosine with 5 % warm-up. First `--time` measures both sides in
turns on a quiet machine and prints the optimizer steps that each takes in `--minutes`. Then each side trains for its
number of steps: the recipe with ``--max_steps``, the stock side here. Both are judged by `recipes/perplexity.py`.

    python benchmarks/clm_quality.py --time --minutes 30 -- --corpus a.txt b.txt --corpus_weights 0.6 0.4 --model gpt2 \
        --parameters 8M
    python benchmarks/clm_quality.py --steps 500 --learning_rate 1e-3 --seed 0 --output_dir runs/stock -- (the same)
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from sides import Steps, our_side
from torch.utils.data import Dataset, SequentialSampler
from transformers import AutoModelForCausalLM, DataCollatorForLanguageModeling, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from hfrep.data.blocks import BlockSettings
from hfrep.data.corpus import CorpusSettings
from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.data.text import Text, pack_text
from hfrep.data.tokenizer import load_tokenizer
from hfrep.models.presets import CausalModelSettings, build_model
from hfrep.objectives.clm import CausalLM, CausalLMCollator
from hfrep.settings import parse
from hfrep.training.launch import quiet_libraries, usable_cores
from hfrep.training.loop import LoopSettings

DEFAULTS = {"tokenizer": "tokenizers/bpe-8k", "sequence_length": 256}


class Positions(Dataset):
    """Item i is the row that stands at position i of the recipe's stream."""

    def __init__(self, text: Text, number: int) -> None:
        self.text, self.number = text, number

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, position: int) -> dict[str, list[int]]:
        _, rows = self.text.order(np.array([position]))
        return {"input_ids": self.text.training.take(rows)["input_ids"][0].tolist()}


class InOrder(Trainer):
    """A `Trainer` that takes the rows in the order of the data set, which is shuffled already."""

    def _get_train_sampler(self, *_: object) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


class Stock:
    """The stock side of one configuration."""

    def __init__(self, text: Text, tokenizer, model, batch_rows: int, sequence_length: int) -> None:
        self.text, self.tokenizer, self.model = text, tokenizer, model
        self.batch_rows, self.sequence_length = batch_rows, sequence_length

    def train(self, steps: int, *, learning_rate: float, seed: int, folder: str, save_steps: int = 0) -> float:
        """Train so many steps, or the rest of them after the last checkpoint in `folder`; returns tokens a second."""
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=self.batch_rows,
            max_steps=steps,
            learning_rate=learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=0.05,
            seed=seed,
            use_cpu=True,
            report_to="none",
            save_strategy="steps" if save_steps else "no",
            save_steps=save_steps or 1,
            save_total_limit=1,
            logging_steps=25,
            disable_tqdm=True,
        )
        trainer = InOrder(
            model=self.model,
            args=arguments,
            train_dataset=Positions(self.text, steps * self.batch_rows),
            data_collator=DataCollatorForLanguageModeling(self.tokenizer, mlm=False),
        )
        last = get_last_checkpoint(folder) if Path(folder).is_dir() else None
        return (
            trainer.train(resume_from_checkpoint=last).metrics["train_steps_per_second"]
            * self.batch_rows
            * self.sequence_length
        )


def main() -> None:
    own = sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--time", action="store_true", help="measure both sides instead of training")
    parser.add_argument("--minutes", type=float, default=30, help="that --time converts to steps")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--output_dir", default="runs/stock")
    arguments = parser.parse_args(own)
    groups = (CorpusSettings, BlockSettings, CausalModelSettings, LoopSettings)
    rest = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    corpora, cut, shape, loop = parse(*groups, argv=rest, defaults=DEFAULTS)
    shape = shape.or_default("gpt2-mini")
    quiet_libraries()
    torch.set_num_threads(arguments.threads)
    tokenizer = decoder_tokenizer(load_tokenizer(cut.tokenizer))
    tokenizer.model_max_length = cut.sequence_length
    text = pack_text(corpora, cut, tokenizer, seed=arguments.seed, causal=True)

    def make_model():
        torch.manual_seed(arguments.seed)
        model = build_model(
            shape, tokenizer=tokenizer, sequence_length=cut.sequence_length, auto_class=AutoModelForCausalLM
        )
        print(shape.describe(model), flush=True)
        return model

    stock = Stock(text, tokenizer, make_model(), loop.train_batch_size, cut.sequence_length)
    if arguments.time:
        objective = CausalLM(make_model(), CausalLMCollator())
        print_steps(
            stock,
            our_side(objective, text.training, loop.train_batch_size, cut.sequence_length, "muon"),
            arguments.minutes,
        )
        return
    began = time.monotonic()
    folder = arguments.output_dir
    stock.train(
        arguments.steps, learning_rate=arguments.learning_rate, seed=arguments.seed, folder=folder, save_steps=50
    )
    stock.model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    print(f"{arguments.steps} steps in {(time.monotonic() - began) / 60:.1f} minutes: {folder}")


def print_steps(stock: Stock, ours: Steps, minutes: float) -> None:
    """Both sides in turns of eight steps, and the steps that each takes in `minutes` at its median speed."""
    speeds: dict[str, list[float]] = {"transformers.Trainer": [], "hfrep": []}
    for _ in range(4):
        speeds["transformers.Trainer"].append(stock.train(8, learning_rate=1e-3, seed=0, folder="unused"))
        speeds["hfrep"].append(ours(8))
    for name, values in speeds.items():
        speed = statistics.median(values[1:])
        steps = speed * 60 * minutes / (stock.batch_rows * stock.sequence_length)
        print(f"{name:<22} {speed:8,.0f} tokens/s   {steps:,.0f} steps in {minutes:g} minutes")


if __name__ == "__main__":
    main()
