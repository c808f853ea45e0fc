"""Adapting to a GLUE task against `transformers.Trainer`: speed and quality of the whole work, side by side.

    python benchmarks/adaptation.py full   --model_name_or_path DIR --data GLUE --task mrpc --seeds 0 1 2
    python benchmarks/adaptation.py lora   --model_name_or_path DIR --data GLUE --task sst2 --learning_rate 1e-3
    python benchmarks/adaptation.py frozen --model_name_or_path DIR --data GLUE --task sst2 --num_train_epochs 5

The two sides are those of `adapting.py`; they take turns seed by seed.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import torch
from adapting import Hyperparameters, Outcome, our_fit, stock_fit

from hfrep.adaptation import ADAPTATIONS
from hfrep.adaptation.adapters import AdapterSettings
from hfrep.adaptation.base import FeatureSettings, Problem
from hfrep.data.examples import encode
from hfrep.data.tokenizer import load_tokenizer
from hfrep.errors import told_in_one_sentence
from hfrep.tasks.reading import TaskSettings, open_task
from hfrep.training.launch import quiet_libraries, usable_cores

LENGTH = 128  # tokens


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
    how = Hyperparameters(
        learning_rate=options.learning_rate,
        num_train_epochs=options.num_train_epochs,
        train_batch_size=options.train_batch_size,
        weight_decay=options.weight_decay,
    )
    turns: dict[str, list[Outcome]] = {"transformers.Trainer": [], "hfrep": []}
    for seed in options.seeds:
        for name, turn in (("transformers.Trainer", stock_fit), ("hfrep", our_fit)):
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
                turns[name].append(turn(options.adaptation, problem, examples, how))
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
    with told_in_one_sentence():
        main()
