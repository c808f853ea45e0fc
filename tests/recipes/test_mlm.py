"""The recipe end to end, as a user starts it, on a kilobyte corpus."""

import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import conftest
import pytest

from hfrep.errors import HfrepError
from hfrep.training.launch import usable_cores

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "mlm.py"


@pytest.fixture(scope="module")
def flags(tiny_mlm):
    return [*tiny_mlm, "--max_steps", "30"]


@pytest.fixture(scope="module")
def recipe():
    return conftest.recipe("mlm")


def launch(*flags, before=()):
    return subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", "--quiet", *before, str(RECIPE), *map(str, flags)],
        capture_output=True,
        text=True,
        check=False,
    )


def weights_hash(run):
    return hashlib.sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def finished(flags, tmp_path_factory):
    """A run through the real launcher: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "mlm"
    run = launch(*flags, "--output_dir", folder, "--eval_steps", 15)
    assert run.returncode == 0, run.stderr[-3000:]
    return folder, run


def test_the_run_says_what_it_is_and_what_came_out(finished):
    """At most ten first lines; then the validation, both baselines, five fillings and the model's path."""
    folder, run = finished
    head, tail = run.stdout.split("step 15:")
    assert len(head.splitlines()) <= 10
    for word in ("model", "text", "proved", "device", "budget"):
        assert f"\n{word} " in f"\n{head}"
    assert "nats per predicted token" in tail
    assert "unigram" in tail
    assert "bigram" in tail
    assert tail.count("true: ") == 5
    assert tail.rstrip().endswith(f"model: {folder / 'model'}")
    assert "Traceback" not in run.stderr


def test_all_cores_are_used_under_the_launcher(tmp_path):
    """D15: the launcher sets OMP_NUM_THREADS=1 on a CPU machine; a run takes all physical cores all the same."""
    script = tmp_path / "threads.py"
    script.write_text(
        "import os, torch\n"
        "from hfrep.training.launch import LaunchSettings, start\n"
        "start(LaunchSettings(), 'unused')\n"
        "print(os.environ['OMP_NUM_THREADS'], torch.get_num_threads())\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", str(script)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["1", str(usable_cores())]


def test_the_folder_is_complete(finished):
    """run.json resolves everything, metrics have both losses, the plot is a picture, the card is a Hub card."""
    folder, _ = finished
    run = json.loads((folder / "run.json").read_text())
    assert run["settings"]["max_steps"] == 30
    assert run["versions"]["torch"]
    assert run["identity"]["text"]
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert {"loss", "eval_loss", "eval_unigram_loss"} <= set().union(*records)
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    card = (folder / "model" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\npipeline_tag: fill-mask\n")
    assert "documents packed into one row do not see each other" in card


def test_it_learned(finished):
    """The last validation loss is below the first."""
    records = [json.loads(line) for line in (finished[0] / "metrics.jsonl").read_text().splitlines()]
    evaluations = [record["eval_loss"] for record in records if "eval_loss" in record]
    assert evaluations[-1] < evaluations[0]


def test_a_stranger_opens_the_model(finished, tmp_path):
    """A process that cannot import hfrep and has no network runs the card's own snippet."""
    folder, _ = finished
    card = (folder / "model" / "README.md").read_text()
    snippet = card.split("```python\n")[1].split("```")[0]
    code = f"import sys\nsys.modules['hfrep'] = None\n{snippet}\nprint(type(model).__name__, tokenizer.mask_token)"
    run = subprocess.run([sys.executable, "-c", code], cwd=folder / "model", capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["BertForMaskedLM", "[MASK]"]


def test_dropout_of_the_config_is_the_published_one(finished):
    """Training ran without dropout; who fine-tunes the model gets BERT's 0.1."""
    assert json.loads((finished[0] / "model" / "config.json").read_text())["hidden_dropout_prob"] == 0.1


def test_a_finished_run_is_not_run_again(finished, flags, recipe, capsys):
    """The same command prints the result and exits 0; with another learning rate it is refused."""
    folder, first = finished
    before = weights_hash(folder)
    assert recipe.main([*flags, "--output_dir", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "already finished:" in printed
    assert first.stdout.splitlines()[-1] in printed
    assert weights_hash(folder) == before
    with pytest.raises(HfrepError, match="learning_rate"):
        recipe.main([*flags, "--output_dir", str(folder), "--learning_rate", "1"])


def test_a_dry_run_says_what_would_be(flags, recipe, capsys, tmp_path):
    """Settings, parameters, tokens and memory are printed, and nothing is written."""
    assert recipe.main([*flags, "--output_dir", str(tmp_path / "run"), "--dry_run"]) == 0
    printed = capsys.readouterr().out
    for words in ("max_steps: 30", "parameters", "tokens in", "GB a process"):
        assert words in printed
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("steps", "kills"), [(30, 3), pytest.param(300, 10, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_ends_with_the_same_weights(recipe, flags, tmp_path, steps, kills):
    """SIGKILL of the process group before the first checkpoint, during saves and at random; each start goes on."""
    flags = [*flags, "--max_steps", str(steps)]
    straight, folder = tmp_path / "straight", tmp_path / "killed"
    assert recipe.main([*flags, "--output_dir", str(straight)]) == 0
    flags += ["--output_dir", str(folder), "--save_steps", "1"]
    moments = ["before the first checkpoint", *itertools.islice(itertools.cycle(["save", "random"]), kills - 1)]
    draw, done = random.Random(0), 0
    for moment in moments:
        done += killed(flags, folder, moment, draw)
    assert done >= kills - 1  # the last may have come after the end
    assert launch(*flags).returncode == 0
    assert weights_hash(folder) == weights_hash(straight)


def killed(flags, folder, moment, draw):
    """Start the recipe and kill its process group at a moment; whether it was still running."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--quiet", str(RECIPE), *flags]
    before = set(folder.glob("checkpoints/step-*"))
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        writing = list(folder.glob("checkpoints/.tmp-step-*/*"))
        moved = set(folder.glob("checkpoints/step-*")) != before
        if {"save": writing and moved, "random": moved}.get(moment, folder.exists()):
            time.sleep(draw.random() * 0.1 if moment != "save" else 0)
            os.killpg(process.pid, signal.SIGKILL)
            break
        time.sleep(0.001)
    return process.wait() != 0


@pytest.mark.multiprocess
def test_two_processes_end_where_one_does(finished, flags, tmp_path):
    """The whole recipe on two CPU processes: the same validation loss, one folder, and a tracker's files."""
    folder = tmp_path / "run"
    flags = [*flags, "--output_dir", folder, "--report_to", "tensorboard"]
    two = launch(*flags, before=conftest.TWO_PROCESSES)
    assert two.returncode == 0, two.stderr[-3000:]
    assert two.stdout.count("model: ") == 1
    assert "2 processes, 1 thread each" in two.stdout
    losses = [json.loads((run / "run.json").read_text())["metrics"]["eval_loss"] for run in (folder, finished[0])]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert list(folder.glob("**/events.out.tfevents.*"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--max_tokens", "1e6"], "found --max_steps and --max_tokens; give one"),
        (["--corpus", "nowhere.txt"], "nowhere.txt: expected a file or a folder, found nothing there"),
        (
            ["--tokenizer", "./nowhere"],
            "tokenizer ./nowhere: expected a folder with a tokenizer, or a Hub id, found no folder ./nowhere",
        ),
        (["--sequence_length", "1000"], "--sequence_length: expected at most the 512 positions that bert-micro has"),
        (["--model", "bert-smal"], "did you mean bert-small?"),
        (["--max_step", "5"], "found --max_step; did you mean --max_steps?"),
        (["--gradient_accumulation_steps", "4"], "give --train_batch_size 32"),
        (["--expect_processes", "2"], "expected 2 processes that train together, found 1"),
        (["--mlm_probability", "2"], "mlm_probability: expected a share above 0 and below 1, found 2"),
        (["--model_name_or_path", "org/name"], "exactly one of --model and --model_name_or_path"),
    ],
)
def test_wrong_input_is_one_sentence(recipe, flags, tmp_path, wrong, words):
    """Each mistake names what was expected, what was found and what to do, before anything is written."""
    with pytest.raises(HfrepError) as told:
        recipe.main([*flags, "--output_dir", str(tmp_path / "run"), *wrong])
    assert words in str(told.value)
    assert not (tmp_path / "run").exists()


def test_a_user_sees_no_traceback(flags, tmp_path):
    """Through the launcher with --quiet: one line, and a status that is not 0."""
    run = launch(*flags, "--output_dir", tmp_path / "run", "--learning_rate", "-1")
    assert run.returncode != 0
    assert "Traceback" not in run.stderr
    assert "error: learning_rate: expected more than 0, found -1.0; correct the setting." in run.stderr
