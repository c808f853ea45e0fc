"""Few-shot prompting against lm-evaluation-harness: the same model, items, demonstrations and threads.

    python benchmarks/prompting_speed.py --data GLUE --task sst2 --shots 8
    python benchmarks/prompting_speed.py --task word_order

The model is of GPT-2's shape with fresh weights: speed does not hang on them. Timed is all from rows and a loaded model
to the accuracy, tokenizing included. The other tool first tries several batch sizes on some items and takes its best.
Sides take turns; a ratio is told only where each log-likelihood is equal to 1e-4 and both give the same accuracy.
"""

import argparse
import copy
import logging
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from lm_eval import evaluate
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM

from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.data.tokenizer import load_tokenizer
from hfrep.evaluation.prompting.lm_eval_task import lm_eval_task
from hfrep.evaluation.prompting.prompted_model import PromptedModel
from hfrep.evaluation.prompting.settings import PromptingSettings
from hfrep.evaluation.prompting.study import PromptStudy
from hfrep.models.presets import ModelSettings, build_model
from hfrep.tasks.items import ItemSettings, open_items
from hfrep.tasks.prompt import open_prompt
from hfrep.training.launch import quiet_libraries, usable_cores

os.environ["TQDM_DISABLE"] = "1"
LENGTH, TOLERANCE = 1024, 1e-4
BATCH_SIZES = (8, 16, 32, 64)
TRIED = 64  # items, for each batch size


def lm_eval_turn(lm: HFLM, task: ConfigurableTask, shots: int, limit: int | None = None) -> tuple[float, Any]:
    """Seconds, and what it found."""
    task.set_config("num_fewshot", shots)
    task.set_fewshot_seed(0)
    began = time.perf_counter()
    # Not simple_evaluate, which goes on to look for the versions of all packages, for seconds.
    found = evaluate(lm, {task.config.task: task}, limit=limit, bootstrap_iters=0, verbosity="ERROR")
    return time.perf_counter() - began, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="word_order")
    parser.add_argument("--data", nargs="*", help="folders with the task's rows, where it is not built in")
    parser.add_argument("--max_items", type=int)
    parser.add_argument("--shots", type=int, default=8)
    parser.add_argument("--parameters", default="17M")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=usable_cores())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    quiet_libraries()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)

    tokenizer = decoder_tokenizer(load_tokenizer(str(Path(__file__).parents[1] / "tokenizers" / "bpe-8k")))
    settings = ModelSettings(model="gpt2", parameters=options.parameters)
    torch.manual_seed(0)
    ours = build_model(settings, tokenizer=tokenizer, sequence_length=LENGTH, auto_class=AutoModelForCausalLM)
    theirs = copy.deepcopy(ours)
    data = open_items(
        open_prompt(options.task), ItemSettings(task=[options.task], data=options.data, max_items=options.max_items)
    )
    print(f"model   {type(ours).__name__}, {ours.num_parameters():,} parameters; {options.threads} threads")
    print(f"items   {len(data.items):,} of {data.prompt.title}, {options.shots} fixed demonstrations", flush=True)

    prompting = PromptingSettings(shots=[options.shots], demonstrations="first", templates=[1])
    model = PromptedModel(
        "ours", ours, tokenizer, Accelerator(cpu=True), masked_scoring="mask", batch_tokens=prompting.eval_batch_tokens
    )
    with tempfile.TemporaryDirectory() as folder:
        task = ConfigurableTask(config=lm_eval_task(data, data.prompt.templates[0], Path(folder)))
        made = {
            size: HFLM(pretrained=theirs, tokenizer=tokenizer, batch_size=size, max_length=LENGTH)
            for size in BATCH_SIZES
        }
        tried = {size: lm_eval_turn(lm, task, options.shots, TRIED)[0] for size, lm in made.items()}
        best = min(tried, key=lambda size: tried[size])
        print("batches " + ", ".join(f"{size}: {seconds:.1f} s" for size, seconds in tried.items()), flush=True)
        times: dict[str, list[float]] = {"hfrep": [], "lm-eval": []}
        for _ in range(options.rounds):
            began = time.perf_counter()
            study = PromptStudy(model, data, prompting)
            outcome = study.ask(options.shots)
            accuracy = outcome.scores(study.methods[0]).mean
            times["hfrep"].append(time.perf_counter() - began)
            seconds, found = lm_eval_turn(made[best], task, options.shots)
            times["lm-eval"].append(seconds)
            print(f"turn    hfrep {times['hfrep'][-1]:.1f} s, lm-eval {seconds:.1f} s", flush=True)

    samples = sorted(found["samples"][data.prompt.name], key=lambda sample: sample["doc_id"])
    other = np.array([[float(one[0][0]) for one in sample["resps"]] for sample in samples])
    apart = float(np.abs(outcome.runs[0].answers.nats - other).max())
    other_accuracy = found["results"][data.prompt.name]["acc,none"]
    print(f"alike   log-likelihoods to {apart:.1e} nats; accuracy {accuracy:.4f} and {other_accuracy:.4f}")
    if apart > TOLERANCE or accuracy != other_accuracy:
        raise SystemExit("no ratio: the two sides do not compute the same")
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    ratio = medians["lm-eval"] / medians["hfrep"]
    print(f"hfrep {medians['hfrep']:.1f} s, lm-eval {medians['lm-eval']:.1f} s at batch size {best}: {ratio:.1f} x")


if __name__ == "__main__":
    main()
