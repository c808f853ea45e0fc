"""Training speed against `transformers.Trainer`, on the same work in one run.

Both sides train bert-mini (vocabulary 30 522) on 32 × 128 tokens a step at 15 % masking, in float32 on the CPU, with
AdamW and the same number of threads. The stock side is `Trainer` with `DataCollatorForLanguageModeling`, as its
examples use it; ours is the loop's own step behind the addressed, masked loader. They take turns of a few steps, and
the medians over the turns are compared. First, both classes are shown to give the same loss on one masked batch.

    python benchmarks/mlm_speed.py --rounds 5 --steps 8
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from accelerate import Accelerator
from transformers import (
    BertForMaskedLM,
    BertTokenizer,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

from hfrep.data.batches import MicroBatches, batches_from
from hfrep.data.order import Shuffled
from hfrep.models.presets import ModelSettings, build_model
from hfrep.objectives.masking import IGNORED, MaskedLMCollator
from hfrep.objectives.mlm import MaskedLM
from hfrep.training.launch import quiet_libraries, usable_cores
from hfrep.training.loop import LoopSettings
from hfrep.training.optim import OptimizerSettings, build_optimizers
from hfrep.training.step import Gradient

VOCABULARY, ROWS, LENGTH = 30_522, 32, 128
SHAPE = ModelSettings(model="bert-mini")


class RandomRows:
    """Rows of one full segment of random words: speed does not hang on what the words are."""

    lengths = None
    fingerprint = "random"

    def __init__(self, tokenizer: PreTrainedTokenizerFast, number: int = 4096) -> None:
        tokens = np.random.default_rng(0).integers(5, VOCABULARY, (number, LENGTH))
        tokens[:, 0], tokens[:, -1] = tokenizer.cls_token_id, tokenizer.sep_token_id
        self.tokens = tokens

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        tokens = self.tokens[indices]
        return {"input_ids": tokens, "segments": np.ones_like(tokens), "word_starts": np.ones(tokens.shape, bool)}


def make_tokenizer() -> PreTrainedTokenizerFast:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = special + [f"w{number}" for number in range(VOCABULARY - len(special))]
    return BertTokenizer(vocab={word: number for number, word in enumerate(words)})


def assert_same_loss(tokenizer: PreTrainedTokenizerFast, rows: RandomRows) -> None:
    """The stock class on all positions and ours on the labelled ones give the same mean loss."""
    objective = make_objective(tokenizer)
    batch = next(make_batches(objective, rows))[0]
    stock = BertForMaskedLM(objective.kept.config).eval()
    stock.load_state_dict(objective.kept.state_dict())
    real = batch["labels"] != IGNORED
    dense = torch.full((ROWS * LENGTH,), IGNORED)
    dense[batch["label_positions"][real]] = batch["labels"][real]
    with torch.no_grad():
        theirs = stock(input_ids=batch["input_ids"], labels=dense.view(ROWS, LENGTH)).loss
        ours = objective(batch)["mlm"] / objective.counts(batch)["mlm"]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    print(f"same loss on one batch: stock {theirs:.6f}, hfrep {ours:.6f}")


def make_objective(tokenizer: PreTrainedTokenizerFast) -> MaskedLM:
    torch.manual_seed(0)
    model = build_model(SHAPE, tokenizer=tokenizer, sequence_length=LENGTH)
    return MaskedLM(model, MaskedLMCollator.of(tokenizer, rates=(0.15, 0.15), by="token", seed=0))


def make_batches(objective: MaskedLM, rows: RandomRows) -> Iterator:
    division = LoopSettings(train_batch_size=ROWS).division(Accelerator(cpu=True))
    data = MicroBatches(rows, Shuffled(len(rows), 0), division, objective.collator())
    return batches_from(data, step=0, workers=0, pin_memory=False)


def ours(tokenizer: PreTrainedTokenizerFast, rows: RandomRows, optimizer: str) -> Callable[[int], float]:
    """A function that trains some steps and returns its tokens a second."""
    accelerator, objective = Accelerator(cpu=True), make_objective(tokenizer)
    settings = OptimizerSettings(optimizer=optimizer)
    module, *optimizers = accelerator.prepare(objective, *build_optimizers(objective, settings))
    gradient = Gradient(accelerator, objective, module.train(), settings.max_grad_norm)
    batches = make_batches(objective, rows)

    def run(steps: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            gradient.accumulate(next(batches), signals=[0.0])
            for one in optimizers:
                one.step()
                one.zero_grad()
        return steps * ROWS * LENGTH / (time.perf_counter() - began)

    return run


def stock(tokenizer: PreTrainedTokenizerFast, rows: RandomRows, folder: str) -> Callable[[int], float]:
    """The same for `Trainer`; what it reports is its own clock around its own loop."""
    config = build_model(SHAPE, tokenizer=tokenizer, sequence_length=LENGTH).config
    model = BertForMaskedLM(config)
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    data = [{"input_ids": row} for row in rows.tokens.tolist()]

    def run(steps: int) -> float:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=ROWS,
            max_steps=steps,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        trainer = Trainer(model=model, args=arguments, train_dataset=data, data_collator=collator)
        return trainer.train().metrics["train_steps_per_second"] * ROWS * LENGTH

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--steps", type=int, default=8, help="optimizer steps a turn")
    arguments = parser.parse_args()
    quiet_libraries()
    torch.set_num_threads(usable_cores())
    tokenizer = make_tokenizer()
    rows = RandomRows(tokenizer)
    assert_same_loss(tokenizer, rows)
    with tempfile.TemporaryDirectory() as folder:
        sides = {
            "transformers.Trainer": stock(tokenizer, rows, folder),
            "hfrep, adamw": ours(tokenizer, rows, "adamw"),
            "hfrep, muon": ours(tokenizer, rows, "muon"),
        }
        for run in sides.values():
            run(2)
        speeds = {name: [] for name in sides}
        for _ in range(arguments.rounds):
            for name, run in sides.items():
                speeds[name].append(run(arguments.steps))
    reference = speeds["transformers.Trainer"]
    print(f"bert-mini, {VOCABULARY:,} words, {ROWS} × {LENGTH} tokens a step, fp32, {torch.get_num_threads()} threads")
    for name, values in speeds.items():
        ratio = statistics.median(mine / theirs for mine, theirs in zip(values, reference, strict=True))
        print(f"{name:<22} {statistics.median(values):8,.0f} tokens/s   {ratio:.2f} ×")


if __name__ == "__main__":
    main()
