"""The causal recipes end to end on a kilobyte corpus: train, let it write, judge it."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from conftest import documents

from hfrep.errors import HfrepError

ROOT = Path(__file__).parents[2]
TRAIN, WRITE, JUDGE = (
    runpy.run_path(str(ROOT / "recipes" / f"{name}.py"))["main"] for name in ("clm", "generate", "perplexity")
)
STRANGER = """
import sys
sys.modules["hfrep"] = None
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline
model, tokenizer = AutoModelForCausalLM.from_pretrained("."), AutoTokenizer.from_pretrained(".")
write = pipeline("text-generation", model=model, tokenizer=tokenizer)
written = write(["the old house", "a"], max_new_tokens=8, max_length=None, do_sample=False, return_full_text=False)
print(type(model).__name__, len(written), tokenizer.model_max_length, tokenizer("the")["input_ids"][-1])
print(repr(written[0][0]["generated_text"]))
"""


@pytest.fixture(scope="module")
def bpe_folder(bpe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer") / "bpe"
    bpe.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def flags(corpus_file, bpe_folder):
    given = {
        "corpus": corpus_file,
        "tokenizer": bpe_folder,
        "model": "gpt2-micro",
        "sequence_length": 64,
        "train_batch_size": 8,
        "max_steps": 30,
        "cpu_threads": 1,
        "validation_fraction": 0.05,
        "max_new_tokens": 16,
    }
    return [part for name, value in given.items() for part in (f"--{name}", str(value))]


@pytest.fixture(scope="module")
def finished(flags, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "clm"
    assert TRAIN([*flags, "--output_dir", str(folder), "--eval_steps", "15"]) == 0
    return folder


def test_the_result_says_what_was_learned(finished):
    """Loss, perplexity, bits per byte, both baselines, three samples and the path; the loss fell."""
    run = json.loads((finished / "run.json").read_text())
    told = "\n".join(run["result"])
    for words in ("nats per predicted token", "perplexity", "bits per byte", "unigram", "bigram"):
        assert words in told
    assert told.count(" >>> ") == 3
    assert told.endswith(f"model: {finished / 'model'}")
    assert "a token sees nothing behind it; documents packed into one row do not see each other" in run["proved"]
    records = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    losses = [record["eval_loss"] for record in records if "eval_loss" in record]
    assert losses[-1] < losses[0]


def test_a_stranger_lets_it_write(finished):
    """Auto class and pipeline open it without hfrep; a prompt is not ended, and goes on as in `recipes/generate.py`."""
    run = subprocess.run(
        [sys.executable, "-c", STRANGER], cwd=finished / "model", capture_output=True, text=True, check=True
    )
    facts, text = run.stdout.splitlines()
    name, number, length, last = facts.split()
    assert (name, number, length) == ("GPT2LMHeadModel", "2", "64")
    config = json.loads((finished / "model" / "config.json").read_text())
    assert int(last) != config["eos_token_id"]
    assert config["eos_token_id"] != config["pad_token_id"]
    target = finished.parent / "greedy.jsonl"
    greedy = ["--temperature", "0", "--max_new_tokens", "8", "--output_file", str(target)]
    assert WRITE(["--model_name_or_path", str(finished / "model"), "--prompt", "the old house", *greedy]) == 0
    assert repr(json.loads(target.read_text())["text"]) == text


def test_the_card_is_for_a_decoder(finished):
    """The Hub shows it as what it is, and the snippet opens it."""
    card = (finished / "model" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\npipeline_tag: text-generation\n")
    assert "AutoModelForCausalLM.from_pretrained" in card
    assert "bits_per_byte" in card
    assert "a process without hfrep opens it as GPT2LMHeadModel" in card


def test_prompts_of_a_file_are_answered_for_each_seed(finished, tmp_path, capsys):
    """One record a prompt and seed, blank lines left out; printed where no file is named."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("the old house\n\na small garden\n")
    flags = ["--model_name_or_path", str(finished / "model"), "--prompts", str(prompts), "--max_new_tokens", "4"]
    assert WRITE([*flags, "--seeds", "0", "1", "--output_file", str(tmp_path / "out.jsonl")]) == 0
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(one["prompt"], one["seed"]) for one in written] == [
        (prompt, seed) for seed in (0, 1) for prompt in ("the old house", "a small garden")
    ]
    capsys.readouterr()
    assert WRITE(flags) == 0
    assert capsys.readouterr().out == "".join(f"{one['prompt']}{one['text']}\n\n" for one in written[:2])


def test_a_single_prompt_streams(finished, tmp_path, capsys):
    """What is shown while it is written, prompt first, is what a file of the same seed would hold."""
    flags = ["--model_name_or_path", str(finished / "model"), "--prompt", "the old", "--max_new_tokens", "6"]
    assert WRITE([*flags, "--output_file", str(tmp_path / "out.jsonl")]) == 0
    capsys.readouterr()
    assert WRITE(flags) == 0
    text = json.loads((tmp_path / "out.jsonl").read_text())["text"]
    assert capsys.readouterr().out == f"the old{text}\n"
    assert text


def test_text_is_judged_by_windows(finished, tmp_path, capsys):
    """Bits per byte of a file, the protocol in words, and results.json with the totals."""
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(documents(12, seed=5)))
    flags = ["--model_name_or_path", str(finished / "model"), "--output_dir", str(tmp_path / "out")]
    assert JUDGE([*flags, "--corpus", str(text), "--stride", "16"]) == 0
    printed = capsys.readouterr().out
    assert "bits per byte" in printed
    assert "every token and end of a document once; window 64, stride 16" in printed
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    score = results["scores"][str(text)]
    assert score["documents"] == 12
    assert score["nats_per_token"] == pytest.approx(score["nats"] / score["tokens"])


def test_last_words_of_a_file(finished, tmp_path, capsys):
    """LAMBADA's way: accuracy with its interval and perplexity over the passages of a .jsonl file."""
    file = tmp_path / "passages.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents(9, seed=6)))
    flags = ["--model_name_or_path", str(finished / "model"), "--output_dir", str(tmp_path / "out")]
    assert JUDGE([*flags, "--passages", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "last word right" in printed
    assert "over 9 passages" in printed


def test_going_on_from_weights(finished, flags, corpus_file, tmp_path):
    """Without --tokenizer the model's own is taken; longer rows make it one for longer texts; samples fit into it."""
    wrong = {"--model", "--tokenizer", "--sequence_length", "--max_new_tokens", "--max_steps"}
    kept = [
        part for name, value in zip(flags[::2], flags[1::2], strict=True) if name not in wrong for part in (name, value)
    ]
    flags = [*kept, "--model_name_or_path", str(finished / "model"), "--max_steps", "2", "--output_dir", str(tmp_path)]
    assert TRAIN([*flags, "--sequence_length", "96"]) == 0
    hashes = [json.loads((run / "run.json").read_text())["identity"]["tokenizer_hash"] for run in (finished, tmp_path)]
    assert hashes[0] == hashes[1]
    assert json.loads((tmp_path / "model" / "tokenizer_config.json").read_text())["model_max_length"] == 96


def test_short_rows_leave_room_for_samples(flags, tmp_path):
    """With the default number of new tokens, as many as there is room for are written."""
    given = dict(zip(flags[::2], flags[1::2], strict=True)) | {"--sequence_length": "24", "--max_steps": "2"}
    del given["--max_new_tokens"]
    assert TRAIN([*(part for pair in given.items() for part in pair), "--output_dir", str(tmp_path)]) == 0
    assert (tmp_path / "model").is_dir()


def test_advice_on_the_budget(flags, tmp_path, capsys):
    """A few steps are timed, the size is one the dial takes, and nothing is written."""
    flags = [*flags[: flags.index("--max_steps")], *flags[flags.index("--max_steps") + 2 :]]
    assert TRAIN([*flags, "--max_minutes", "30", "--budget_advice", "--output_dir", str(tmp_path / "run")]) == 0
    assert "30 minutes at " in (printed := capsys.readouterr().out)
    assert "20 a parameter (Hoffmann et al. 2022)" in printed
    assert not (tmp_path / "run").exists()


def test_a_profile_of_a_step(flags, tmp_path, capsys):
    """Shares of a step add up to it, matrix products are named, and nothing is written."""
    assert TRAIN([*flags, "--profile", "--output_dir", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr().out
    table = printed[printed.index("operator ") :].splitlines()[1:]
    assert any(line.startswith("aten::addmm ") for line in table)
    assert sum(float(line.rsplit(maxsplit=1)[-1].rstrip("%")) for line in table) == pytest.approx(100, abs=2)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--model", "bert-mini"], "--model bert-mini: expected a model for AutoModelForCausalLM"),
        (["--sequence_length", "2000"], "--sequence_length: expected at most the 1024 positions that gpt2-micro has"),
        (["--top_p", "0"], "top_p: expected a probability above 0"),
        (["--budget_advice"], "--budget_advice: expected minutes to spend, found no --max_minutes"),
    ],
)
def test_wrong_input_to_training(flags, tmp_path, wrong, words):
    """One sentence each, before anything is written."""
    with pytest.raises(HfrepError) as told:
        TRAIN([*flags, "--output_dir", str(tmp_path / "run"), *wrong])
    assert words in str(told.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("recipe", "wrong", "words"),
    [
        (WRITE, ["--prompts", "nowhere.txt"], "nowhere.txt: expected a readable file"),
        (WRITE, ["--prompts", "a.txt", "--prompt", "x"], "the prompts: expected --prompt or --prompts, found both"),
        (WRITE, ["--max_new_tokens", "60", "--prompt", "the old house"], "--max_new_tokens 60 more fit into the 64"),
        (JUDGE, ["--window", "65"], "--window: expected at most the 64 tokens the model was made for, found 65"),
        (JUDGE, ["--stride", "64"], "--stride: expected less than the window of 64 tokens, found 64"),
        (JUDGE, ["--corpus", "nowhere.txt"], "nowhere.txt: expected a file or a folder, found nothing there"),
        (JUDGE, ["--passages", "nowhere.jsonl"], "nowhere.jsonl: expected a readable file"),
        (JUDGE, ["--stride", "0"], "stride: expected 1 or more, found 0"),
        (JUDGE, [], "the text: expected --corpus or --passages, found neither; name what to judge the model on"),
        (JUDGE, ["--passages", "blank.txt"], "the passages: expected one or more, found none"),
        (JUDGE, ["--corpus", "blank.txt"], "the text to score: expected a document or more, found none"),
        (WRITE, ["--prompts", "blank.txt"], "blank.txt: expected a prompt or more, found none"),
        (WRITE, ["--output_file", "nowhere/out.jsonl"], "--output_file: expected a folder that is there, found"),
        (WRITE, ["--max_new_tokens", "64"], "--max_new_tokens: expected fewer than the 64 tokens that the model was"),
        (WRITE, ["--temperature", "1e-9"], "temperature: expected 0 (greedy), or 0.01 or more, found 1e-09"),
    ],
)
def test_wrong_input_to_a_finished_model(finished, tmp_path, monkeypatch, recipe, wrong, words):
    """Files that are not there or hold nothing, and windows and texts that the model has no room for."""
    (tmp_path / "blank.txt").write_text(" \n\n")
    monkeypatch.chdir(tmp_path)
    if "--stride" in wrong or "--window" in wrong:
        wrong = [*wrong, "--corpus", "blank.txt"]
    flags = ["--model_name_or_path", str(finished / "model")]
    flags += ["--output_dir", str(tmp_path / "out")] if recipe is JUDGE else []
    with pytest.raises(HfrepError) as told:
        recipe([*flags, *wrong])
    assert words in str(told.value)


def test_an_encoder_does_not_write(wordpiece, tmp_path):
    """The class is named, and the recipe that makes what is wanted."""
    tiny.masked_lm(wordpiece).kept.save_pretrained(tmp_path)
    wordpiece.save_pretrained(tmp_path)
    with pytest.raises(HfrepError, match="a causal language model, found BertForMaskedLM, which fills in masks"):
        WRITE(["--model_name_or_path", str(tmp_path)])
