"""How long OpenMP's threads spin while they wait, alone and beside a program that keeps one core busy.

    python benchmarks/waiting_threads.py --steps 12

Times steps of fine-tuning bert-mini (AdamW, 16 × 20 and 16 × 60 random tokens) on all cores, each setting in a process
of its own, since GNU's runtime reads it when it is loaded. The settings take turns; medians over the turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

SETTINGS = {
    "GNU's default": {"GOMP_SPINCOUNT": "300000"},
    "1,000": {"GOMP_SPINCOUNT": "1000"},
    "not at all": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"},
}
ROWS, LENGTHS, WARM_UP = 16, (20, 60), 3
BUSY = "while True: sum(range(100_000))"


def step_times(steps: int) -> list[float]:
    """Milliseconds of a step for each of `LENGTHS`, in this process."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from hfrep.training.launch import usable_cores

    torch.set_num_threads(usable_cores())
    torch.manual_seed(0)
    shape = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}
    model = BertForSequenceClassification(BertConfig(vocab_size=8192, **shape)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    found = []
    for length in LENGTHS:
        ids, labels = torch.randint(5, 8192, (ROWS, length)), torch.randint(0, 2, (ROWS,))
        for step in range(steps + WARM_UP):
            if step == WARM_UP:
                began = time.perf_counter()
            model(input_ids=ids, labels=labels).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        found.append((time.perf_counter() - began) / steps * 1000)
    return found


def measured(setting: dict[str, str], steps: int) -> list[float]:
    """The same in a process with `setting`."""
    spinning = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in spinning}
    command = [sys.executable, __file__, "--steps", str(steps), "--here"]
    run = subprocess.run(command, env=environment | setting, capture_output=True, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each setting")
    parser.add_argument("--steps", type=int, default=12, help="timed steps a turn")
    parser.add_argument("--here", action="store_true", help="time in this process and print JSON")
    options = parser.parse_args()
    if options.here:
        print(json.dumps(step_times(options.steps)))
        return
    for beside in ("alone", "beside another program"):
        other = subprocess.Popen([sys.executable, "-c", BUSY]) if beside != "alone" else None
        turns: dict[str, list[list[float]]] = {name: [] for name in SETTINGS}
        for _ in range(options.rounds):
            for name, setting in SETTINGS.items():
                turns[name].append(measured(setting, options.steps))
        if other:
            other.kill()
        for name, found in turns.items():
            shown = ", ".join(f"{statistics.median(times):.0f} ms" for times in zip(*found, strict=True))
            print(f"{beside:<23} {name:<24} {shown}", flush=True)


if __name__ == "__main__":
    main()
