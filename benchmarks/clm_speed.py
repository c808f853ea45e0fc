"""Speed and memory of causal training against `transformers.Trainer`, on the same work in one run.

Both sides train a GPT-2 of 4 layers and width 256 (vocabulary 30 522) on 16 × 256 tokens a step, in float32 on the CPU,
with AdamW and the same number of threads. The stock side is `Trainer` with its collator for causal models, as its
examples use it, with the class's dropout and without; ours is the loop's own step behind the addressed loader. Each
side is a process of its own, and they take turns of a few steps; the medians over the turns are compared. Memory is
what is resident beyond what was before the first step, at its peak. First, both classes are shown to give the same loss
on one batch.

    python benchmarks/clm_speed.py --rounds 5 --steps 6
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import psutil
import torch
from sides import RandomRows, Steps, our_side, stock_side
from tokenizers import Tokenizer, models
from transformers import DataCollatorForLanguageModeling, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from hfrep.models.presets import set_dropout
from hfrep.objectives.clm import CausalLM, CausalLMCollator
from hfrep.training.launch import quiet_libraries, usable_cores

VOCABULARY, ROWS, LENGTH = 30_522, 16, 256
PAD, BEGIN, END = 0, 1, 2
STOCK, STOCK_WITHOUT_DROPOUT = "transformers.Trainer", "the same, dropout 0"
SIDES = (STOCK, STOCK_WITHOUT_DROPOUT, "hfrep, adamw", "hfrep, muon")


def make_rows(number: int = 2048) -> RandomRows:
    return RandomRows(number, LENGTH, VOCABULARY, BEGIN, END)


def make_model() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=VOCABULARY, n_layer=4, n_embd=256, n_head=4, bos_token_id=BEGIN, eos_token_id=END)
    return GPT2LMHeadModel(config)


def assert_same_loss() -> None:
    """The stock class's mean loss on a batch, and ours as a sum over a count."""
    model = make_model().eval()
    objective = CausalLM(model, CausalLMCollator()).eval()
    batch = CausalLMCollator()(make_rows(ROWS).take(np.arange(ROWS)), addresses=None)
    with torch.no_grad():
        theirs = model(input_ids=batch["input_ids"], labels=batch["input_ids"]).loss
        ours = objective(batch)["clm"] / objective.counts(batch)["clm"]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    print(f"same loss on one batch: stock {theirs:.6f}, hfrep {ours:.6f}")


def make_side(name: str, folder: str) -> Steps:
    model = make_model()
    if name != STOCK:
        set_dropout(model, 0.0)
    if name in (STOCK, STOCK_WITHOUT_DROPOUT):
        words = Tokenizer(models.WordLevel({"[PAD]": PAD}, unk_token="[PAD]"))
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]")
        collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)
        return stock_side(model, collator, make_rows(), ROWS, folder)
    return our_side(CausalLM(model, CausalLMCollator()), make_rows(), ROWS, LENGTH, name.removeprefix("hfrep, "))


class Peak:
    """Resident bytes of this process beyond those at the start, at their highest, looked at every few milliseconds."""

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.start = self.highest = self.process.memory_info().rss
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            self.highest = max(self.highest, self.process.memory_info().rss)
            time.sleep(0.005)


def answer(name: str) -> None:
    """One side as a process: a number of steps on each line in, tokens a second and peak bytes on each line out."""
    quiet_libraries()
    torch.set_num_threads(usable_cores())
    with tempfile.TemporaryDirectory() as folder:
        run = make_side(name, folder)
        peak = Peak()
        for line in sys.stdin:
            speed = run(int(line))
            print(json.dumps([speed, peak.highest - peak.start]), flush=True)


class Side:
    """A process that runs `answer`."""

    def __init__(self, name: str) -> None:
        command = [sys.executable, __file__, "--side", name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def turn(self, steps: int) -> list[float]:
        """Tokens a second over so many steps, and peak bytes so far."""
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        while not (line := self.process.stdout.readline()).startswith("["):  # `Trainer` prints a summary of its own
            if not line:
                raise SystemExit("a side ended early; see its message above")
        return json.loads(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--steps", type=int, default=6, help="optimizer steps a turn")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        answer(arguments.side)
        return
    assert_same_loss()
    sides = {name: Side(name) for name in SIDES}
    for side in sides.values():
        side.turn(2)
    turns = {name: [] for name in SIDES}
    for _ in range(arguments.rounds):
        for name, side in sides.items():
            turns[name].append(side.turn(arguments.steps))
    reference = turns[STOCK]
    print(f"GPT-2 4 × 256, {VOCABULARY:,} words, {ROWS} × {LENGTH} tokens a step, fp32, {usable_cores()} threads each")
    for name, values in turns.items():
        speed, peak = statistics.median(value[0] for value in values), values[-1][1]
        ratio = statistics.median(mine[0] / theirs[0] for mine, theirs in zip(values, reference, strict=True))
        memory = peak / reference[-1][1]
        print(f"{name:<22} {speed:8,.0f} tokens/s   {ratio:.2f} ×   peak {peak / 1e6:6,.0f} MB   {memory:.2f} ×")


if __name__ == "__main__":
    main()
