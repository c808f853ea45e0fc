"""Prompts against lm-evaluation-harness, on the same model, rows, templates and demonstrations.

Log-likelihoods are equal wherever the context is tokenized alike alone and before its continuation; where it is not,
that tool scores other tokens than those of the continuation, and here ours are held against the sum of the whole text.
With ``HFREP_DATA`` naming folders of tasks, ``:`` between them, the slow tests do the same on those.
"""

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from conftest import documents
from micros import micro, opinionated

from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.data.tokenizer import load_tokenizer
from hfrep.evaluation.prompting.lm_eval_task import lm_eval_task
from hfrep.evaluation.prompting.outcome import Method
from hfrep.evaluation.prompting.prompted_model import PromptedModel
from hfrep.evaluation.prompting.settings import PromptingSettings
from hfrep.evaluation.prompting.study import PromptStudy
from hfrep.tasks.items import ItemSettings, open_items
from hfrep.tasks.prompt import known_prompts, open_prompt, read_prompt

SHOTS, LENGTH, TOLERANCE = 3, 1024, 1e-4
METRICS = {"acc": "sum", "acc_norm": "character", "acc_bytes": "byte"}
OPTIONS = """
templates:
  - text: "{{begun}} {{answer}}"
    choices: ["{{one}}", "{{two}}", "{{three}}"]
separator: "\\n"
"""
LAST_WORD = """
templates:
  - text: "{{text.rsplit(' ', 1)[0]}} {{answer}}"
scored: greedy
answer: "{{text.rsplit(' ', 1)[1]}}"
"""


@pytest.fixture(autouse=True)
def _small_corpus(monkeypatch):
    """The built-in tasks are made of the docstrings of three packages: of all it takes minutes."""
    monkeypatch.setattr("hfrep.data.docstrings.DISTRIBUTIONS", ("numpy", "scipy", "networkx"))


@pytest.fixture(scope="module")
def tokenizer():
    return decoder_tokenizer(load_tokenizer(str(Path(__file__).parents[2] / "tokenizers" / "bpe-8k")))


@pytest.fixture(scope="module")
def model(tokenizer):
    return opinionated(micro("gpt2-micro", tokenizer, length=LENGTH), 2).eval()


def own_task(folder: Path, name: str, prompt: str, rows: list[dict]) -> tuple:
    """A prompt and its items, of which the first rows are the ones to show."""
    (folder / f"{name}.yaml").write_text(prompt)
    files = {"train": rows[:20], "validation": rows[20:]}
    for split, part in files.items():
        (folder / f"{name}-{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    settings = ItemSettings(
        prompt=[str(folder / f"{name}.yaml")],
        train_file=str(folder / f"{name}-train.jsonl"),
        validation_file=str(folder / f"{name}-validation.jsonl"),
    )
    return open_items(read_prompt(folder / f"{name}.yaml"), settings)


def options(folder):
    pieces = [text for text in documents(400, seed=3) if len(text.split()) > 12][:240]
    rows = []
    for number in range(0, len(pieces) - 2, 3):
        ends = [" ".join(piece.split()[6:12]) for piece in pieces[number : number + 3]]
        row = dict(zip(("one", "two", "three"), ends, strict=True))
        rows.append(row | {"begun": " ".join(pieces[number].split()[:6]), "label": number % 3})
    return own_task(folder, "options", OPTIONS, rows)


def last_word(folder):
    texts = [" ".join(text.split()[:14]) for text in documents(80, seed=4) if len(text.split()) > 3]
    return own_task(folder, "last_word", LAST_WORD, [{"text": text} for text in texts])


def built_in(name):
    return lambda folder: open_items(open_prompt(name), ItemSettings(task=[name], max_items=60))


TASKS = {
    "single": built_in("word_order"),
    "pair": built_in("sentence_order"),
    "eight classes": built_in("verb"),
    "options": options,
    "last word": last_word,
}


def theirs(data, model, tokenizer, folder):
    """What lm-eval says: for each item its log-likelihoods, and its scores."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lm_eval import evaluate
        from lm_eval.api.task import ConfigurableTask
        from lm_eval.models.huggingface import HFLM

        task = ConfigurableTask(config=lm_eval_task(data, data.prompt.templates[0], folder))
        task.set_config("num_fewshot", SHOTS)
        task.set_fewshot_seed(0)
        lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=8, max_length=LENGTH)
        found = evaluate(lm, {data.prompt.name: task}, bootstrap_iters=0, verbosity="ERROR")
    samples = sorted(found["samples"][data.prompt.name], key=lambda sample: sample["doc_id"])
    asked = [[(one[0], one[1]) for one in sample["arguments"]] for sample in samples]
    return (
        [[float(one[0][0]) for one in sample["resps"]] for sample in samples],
        asked,
        found["results"][data.prompt.name],
    )


def whole_text(model, tokenizer, context, continuation):
    """Naively: the whole text through the model, and the sum over the tokens that touch the continuation."""
    encoding = tokenizer(context + continuation, return_offsets_mapping=True)
    ids = torch.tensor([encoding["input_ids"]])
    with torch.no_grad():
        nats = torch.log_softmax(model(ids).logits.double(), -1)
    # A special token covers no character.
    scored = [at for at, (start, end) in enumerate(encoding["offset_mapping"]) if end > len(context) and end > start]
    return sum(nats[0, at - 1, ids[0, at]].item() for at in scored)


def compare(data, model, tokenizer, folder):
    """Hold both against each other; returns how far the likelihoods of answers spread, so that there is some to."""
    settings = PromptingSettings(
        shots=[SHOTS], demonstrations="first", templates=[1], normalization=["sum", "character", "byte"]
    )
    prompted = PromptedModel("micro", model, tokenizer, Accelerator(cpu=True), masked_scoring="mask", batch_tokens=2048)
    study = PromptStudy(prompted, data, settings)
    outcome = study.ask(SHOTS)
    nats, asked, scores = theirs(data, model, tokenizer, folder)
    alike, differing = 0, 0
    run = outcome.runs[0]
    for question, ours, item, texts in zip(run.questions, run.answers.nats, nats, asked, strict=True):
        if question.dropped:  # where we leave a demonstration out, that tool cuts through the middle of one
            continue
        for one, other, (context, continuation) in zip(ours, item, texts, strict=True):
            alone = tokenizer(context)["input_ids"]
            if tokenizer(context + continuation)["input_ids"][: len(alone)] == alone:
                assert one == pytest.approx(other, abs=TOLERANCE)
                alike += 1
            else:
                assert one == pytest.approx(whole_text(model, tokenizer, context, continuation), abs=TOLERANCE)
                differing += 1
    assert alike >= 0.95 * (alike + differing), f"{differing} of {alike + differing} texts are tokenized otherwise"
    if not differing and not outcome.dropped:
        for metric, normalization in METRICS.items() if data.prompt.scored == "choices" else [("acc", "")]:
            method = Method(normalization, "none") if normalization else study.methods[0]
            right = np.mean(run.predictions(method) == outcome.references)
            assert right == pytest.approx(scores[f"{metric},none"], abs=1e-12)
    return np.std(nats)


@pytest.mark.parametrize("shape", TASKS)
def test_log_likelihoods_and_accuracies_are_those_of_lm_eval(shape, model, tokenizer, tmp_path):
    spread = compare(TASKS[shape](tmp_path), model, tokenizer, tmp_path)
    assert spread > 0.1, "answers differ in how likely they are, so that there is something to get wrong"


FOLDERS = os.environ.get("HFREP_DATA", "").split(":")
if PUBLIC := [name for name in known_prompts() if any((Path(folder) / name).is_dir() for folder in FOLDERS)]:

    @pytest.mark.slow
    @pytest.mark.parametrize("name", PUBLIC)
    def test_it_holds_on_the_public_tasks(name, model, tokenizer, tmp_path):
        data = open_items(open_prompt(name), ItemSettings(task=[name], data=FOLDERS, max_items=40))
        assert compare(data, model, tokenizer, tmp_path) > 0.1
