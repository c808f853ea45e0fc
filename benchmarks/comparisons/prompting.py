"""Asking a GPT of 17M parameters the items of a built-in task, with eight demonstrations that stay the same.

The model has fresh weights: speed does not hang on them. Timed is all from rows and a loaded model to the accuracy,
tokenizing included. The other tool first tries several batch sizes on some items and takes its best.
"""

import logging
import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from comparison import LIKELIHOOD_TOLERANCES, OURS, Amount, Comparison, Goal, Turn, likelihood_answers
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.data.tokenizer import load_tokenizer
from hfrep.evaluation.prompting.lm_eval_task import lm_eval_task
from hfrep.evaluation.prompting.prompted_model import PromptedModel
from hfrep.evaluation.prompting.settings import PromptingSettings
from hfrep.evaluation.prompting.study import PromptStudy
from hfrep.models.presets import ModelSettings, build_model
from hfrep.tasks.items import ItemSettings, PromptData, open_items
from hfrep.tasks.prompt import open_prompt
from hfrep.training.launch import quiet_libraries

TASK, SHOTS, LENGTH = "word_order", 8, 1024
TOKENIZER = Path(__file__).parents[2] / "tokenizers" / "bpe-8k"
BATCH_SIZES, TRIED_ITEMS = (8, 16, 32, 64), 32


def make_model() -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    quiet_libraries()
    tokenizer = decoder_tokenizer(load_tokenizer(str(TOKENIZER)))
    torch.manual_seed(0)
    settings = ModelSettings(model="gpt2", parameters="17M")
    model = build_model(settings, tokenizer=tokenizer, sequence_length=LENGTH, auto_class=AutoModelForCausalLM)
    return model, tokenizer


def make_items(number: int) -> PromptData:
    return open_items(open_prompt(TASK), ItemSettings(task=[TASK], max_items=number))


class OurPrompting:
    """A turn asks a number of items."""

    def __init__(self) -> None:
        model, tokenizer = make_model()
        self.settings = PromptingSettings(shots=[SHOTS], demonstrations="first", templates=[1])
        self.model = PromptedModel(
            "ours",
            model,
            tokenizer,
            Accelerator(cpu=True),
            masked_scoring="mask",
            batch_tokens=self.settings.eval_batch_tokens,
        )
        self.answers: dict[str, float] = {}

    def turn(self, amount: int) -> Turn:
        data = make_items(amount)
        began = time.perf_counter()
        study = PromptStudy(self.model, data, self.settings)
        outcome = study.ask(SHOTS)
        accuracy = outcome.scores(study.methods[0]).mean
        seconds = time.perf_counter() - began
        self.answers = likelihood_answers(outcome.runs[0].answers.nats, accuracy)
        return Turn(amount, seconds)


class LmEval:
    """The same by lm-evaluation-harness."""

    def __init__(self) -> None:
        os.environ["TQDM_DISABLE"] = "1"
        from lm_eval.models.huggingface import HFLM

        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        model, tokenizer = make_model()
        self.made = {
            size: HFLM(pretrained=model, tokenizer=tokenizer, batch_size=size, max_length=LENGTH)
            for size in BATCH_SIZES
        }
        self.best: int | None = None
        self.answers: dict[str, float] = {}

    def turn(self, amount: int) -> Turn:
        if self.best is None:  # in its own turn, when no other side is at work
            self._turn(TRIED_ITEMS, BATCH_SIZES[0])  # a first time is slower for any size
            self.best = min(BATCH_SIZES, key=lambda size: self._turn(TRIED_ITEMS, size).seconds)
        return self._turn(amount, self.best)

    def _turn(self, amount: int, batch_size: int) -> Turn:
        # Not simple_evaluate, which goes on to look for the versions of all packages, for seconds.
        from lm_eval import evaluate
        from lm_eval.api.task import ConfigurableTask

        data = make_items(amount)
        with tempfile.TemporaryDirectory() as folder:
            task = ConfigurableTask(config=lm_eval_task(data, data.prompt.templates[0], Path(folder)))
            task.set_config("num_fewshot", SHOTS)
            task.set_fewshot_seed(0)
            began = time.perf_counter()
            results = evaluate(self.made[batch_size], {task.config.task: task}, bootstrap_iters=0, verbosity="ERROR")
            seconds = time.perf_counter() - began
        samples = sorted(results["samples"][data.prompt.name], key=lambda sample: sample["doc_id"])
        nats = np.array([[float(one[0][0]) for one in sample["resps"]] for sample in samples])
        self.answers = likelihood_answers(nats, results["results"][data.prompt.name]["acc,none"])
        return Turn(amount, seconds)


PROMPTING = Comparison(
    name="prompting",
    what=f"prompts, GPT-2 of 17M, {SHOTS} fixed demonstrations",
    unit="items",
    sides={OURS: OurPrompting, "lm-eval": LmEval},
    goals=[Goal("lm-eval", 6.0)],
    full=Amount(turn=200, rounds=2, warm_up=8),
    quick=Amount(turn=24, rounds=1, warm_up=8),
    tolerances=LIKELIHOOD_TOLERANCES,
)
