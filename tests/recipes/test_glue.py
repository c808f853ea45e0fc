"""`recipes/glue.py` from files to tables: what it leaves, taken up again, killed, fed with mistakes."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import RECIPES, TWO_PROCESSES, recipe, sentences
from huggingface_hub import ModelCard
from tasks_on_disk import write_model, write_task

from hfrep.errors import HfrepError
from hfrep.training import checkpoint

RECIPE = RECIPES / "glue.py"


@pytest.fixture(scope="module")
def main():
    return recipe("glue").main


@pytest.fixture(scope="module")
def given(wordpiece, tmp_path_factory):
    """A pretrained model and a task in files; the flags that name them."""
    folder = tmp_path_factory.mktemp("given")
    write_model(folder / "model", wordpiece)
    task = write_task(folder / "task")
    return [
        *("--model_name_or_path", folder / "model", "--cpu_threads", "1", "--task", "garden"),
        *("--train_file", task / "train.jsonl", "--validation_file", task / "validation.jsonl"),
    ]


def flags_of(given, output, *more):
    return [*map(str, given), "--output_dir", str(output), *map(str, more)]


SHORT = ("--max_steps", 6, "--learning_rates", "1e-3", "1e-2", "--seeds", 0, 1)


@pytest.fixture(scope="module")
def finished(main, given, tmp_path_factory):
    """A folder of the whole recipe."""
    output = tmp_path_factory.mktemp("finished") / "run"
    assert main(flags_of(given, output, *SHORT)) == 0
    return output


@pytest.fixture
def not_reopened(monkeypatch):
    """Spares a test that is about something else the fresh process."""
    monkeypatch.setattr("hfrep.adaptation.report.prove_reload", lambda probes: [])


def results(folder):
    return json.loads((folder / "results.json").read_text())


def logits(folder):
    """All predictions below `folder`, by the training that made them."""
    found = {}
    for file in sorted(folder.rglob("logits.npz")):
        with np.load(file) as stored:
            for name in stored.files:
                if name.startswith("logits_"):
                    found[f"{file.relative_to(folder)} {name}"] = stored[name]
    return found


def test_every_row_is_in_the_table(finished):
    """Adaptations of pretrained and of random weights and the majority stand in one table, with what they cost."""
    cells = {cell["row"]: cell for cell in results(finished)["cells"]}
    adaptations = ("full", "frozen", "lora")
    assert list(cells) == ["majority", *adaptations, *(f"{name}, random weights" for name in adaptations)]
    assert all(len(cells[name]["by_seed"]) == 2 for name in adaptations)
    assert cells["full"]["trained"] == cells["full"]["parameters"]
    assert 0 < cells["frozen"]["trained"] < cells["lora"]["trained"] < cells["full"]["trained"]
    assert cells["lora"]["trained"] == cells["lora, random weights"]["trained"]
    assert cells["full"]["note"].startswith("learning rate ")
    assert all(cells[name]["low"] <= cells[name]["mean"] <= cells[name]["high"] for name in cells)
    pairs = {(one["first"], one["second"]) for one in results(finished)["paired"]}
    assert {("full", "full, random weights"), ("full", "lora"), ("frozen", "lora")} <= pairs
    assert (finished / "results.png").stat().st_size > 5000
    assert "| full" in (finished / "results.md").read_text()


def test_what_is_saved_says_how_it_opens_and_was_reopened(finished):
    """Each seed's model, head and adapter has a card with a snippet and the proof; random weights save nothing."""
    for name, saved in (("full", "model"), ("frozen", "head"), ("lora", "adapter")):
        for seed in (0, 1):
            card = (finished / "garden" / name / f"seed-{seed}" / saved / "README.md").read_text()
            assert "from_pretrained" in card
            assert "- a process without hfrep opens it as" in card
            (score,) = ModelCard(card).data.eval_results
            by_seed = next(cell for cell in results(finished)["cells"] if cell["row"] == name)["by_seed"]
            assert (score.metric_type, score.dataset_type, score.dataset_split) == ("accuracy", "garden", "validation")
            assert score.metric_value == pytest.approx(by_seed[seed], rel=1e-5)
        assert not list((finished / "garden" / f"{name}-random").rglob(saved))
    assert not list(finished.rglob("*-probe.npz"))
    assert not list(finished.rglob("checkpoints"))
    config = json.loads((finished / "garden/full/seed-0/model/config.json").read_text())
    assert config["id2label"] == {"0": "garden", "1": "house"}
    labels = json.loads((finished / "garden/lora/seed-0/adapter/labels.json").read_text())
    assert labels["labels"] == ["garden", "house"]


def test_the_same_command_again_trains_nothing(main, given, finished, monkeypatch):
    """A finished recipe prints its table from what is there."""
    before = results(finished)
    monkeypatch.setattr("hfrep.training.run.Training", None)
    assert main(flags_of(given, finished, *SHORT)) == 0
    assert results(finished) == before


@pytest.mark.usefixtures("not_reopened")
@pytest.mark.parametrize(
    "change", [("--lora_alpha", 64), ("--dropout", 0.3), ("--early_stopping_patience", 2)], ids=lambda flag: flag[0]
)
def test_other_settings_are_another_training(main, given, finished, change):
    """What does not show in the weights at the start is part of what a training is all the same."""
    with pytest.raises(HfrepError, match=r"the run to resume: expected the settings it was started with, found others"):
        main(flags_of(given, finished, *SHORT, *change, "--adaptation", "lora"))


def test_two_writers_are_refused(main, given, tmp_path):
    """A second start in the folder of a running one is told who has it."""
    with checkpoint.one_writer(tmp_path / "run"), pytest.raises(HfrepError, match="expected no other process writing"):
        main(flags_of(given, tmp_path / "run", *SHORT))


def test_settings_that_do_not_fit_are_told_before_the_first_training(main, given, tmp_path):
    """A layer or a module that is not there stops the recipe at once, whatever comes before it in the order."""
    for flags in (("--layer", 9), ("--lora_target_modules", "nothing")):
        with pytest.raises(HfrepError):
            main(flags_of(given, tmp_path / "run", *flags))
    assert not list(tmp_path.rglob("logits.npz"))


def test_killed_it_goes_on_to_the_same_predictions(main, given, finished, tmp_path, monkeypatch):
    """Killed while saving inside trainings, several times, it ends with every logit equal to the last bit."""
    whole, output = checkpoint.Checkpoints._complete, tmp_path / "run"
    flags = flags_of(given, output, *SHORT, "--save_steps", "2", "--no_random_initialization")
    saves = 0

    def dying(self, aside, final, state):
        nonlocal saves
        saves += 1
        if saves in (2, 6, 17):
            raise KeyboardInterrupt
        whole(self, aside, final, state)

    monkeypatch.setattr(checkpoint.Checkpoints, "_complete", dying)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            main(flags)
    assert main(flags) == 0
    ours, theirs = logits(output), logits(finished)
    assert ours.keys() == {name for name in theirs if "-random/" not in name}
    for name in ours:
        assert np.array_equal(ours[name], theirs[name]), name


@pytest.mark.usefixtures("not_reopened")
def test_micro_batches_do_not_change_what_is_learnt(main, given, tmp_path):
    """Batches of 16 in parts of 3 give the logits of whole ones (stock accumulation scales the loss by the parts)."""
    more = ("--adaptation", "full", "--no_random_initialization", "--dropout", 0, "--max_steps", 6)
    for name, size in (("whole", 16), ("parts", 3)):
        assert main(flags_of(given, tmp_path / name, *more, "--per_device_train_batch_size", size)) == 0
    ours, theirs = logits(tmp_path / "parts"), logits(tmp_path / "whole")
    for name in ours:
        assert np.allclose(ours[name], theirs[name], atol=1e-4), name


@pytest.mark.multiprocess
@pytest.mark.usefixtures("not_reopened")
def test_two_processes_predict_what_one_does(given, main, tmp_path):
    """On two CPU processes, every validation row is predicted once and as by one."""
    more = ("--max_steps", 4, "--no_random_initialization", "--dropout", 0)
    assert main(flags_of(given, tmp_path / "one", *more)) == 0
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--quiet", *TWO_PROCESSES]
    command = [*launch, str(RECIPE), *flags_of(given, tmp_path / "two", *more)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.count("points, mean") == 1
    ours, theirs = logits(tmp_path / "two"), logits(tmp_path / "one")
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert np.allclose(ours[name], theirs[name], atol=1e-4), name


@pytest.mark.usefixtures("not_reopened")
def test_layers_are_compared(main, given, tmp_path, capsys):
    """All layers of a frozen body stand in a line beneath the table."""
    more = ("--adaptation", "frozen", "--no_random_initialization", "--num_train_epochs", 3)
    assert main(flags_of(given, tmp_path / "layers", *more, "--layer", "all")) == 0
    told = capsys.readouterr().out
    assert "points by layer  0: " in told
    assert ", 2: " in told


def test_a_class_head_trains_on_features_and_stops_early(main, given, tmp_path, capsys):
    """The stock class's own head is trained, saved with the body, and reopened; trainings can stop early."""
    more = ("--adaptation", "frozen", "--no_random_initialization", "--num_train_epochs", 3)
    more = (*more, "--pooling", "class_head", "--early_stopping_patience", 1, "--learning_rates", "1e-2")
    assert main(flags_of(given, tmp_path / "head", *more)) == 0
    assert "when to stop, and which of several" in capsys.readouterr().out
    model = tmp_path / "head/garden/frozen/seed-0/head"
    assert "BertForSequenceClassification" in (model / "config.json").read_text()


@pytest.mark.usefixtures("not_reopened")
def test_a_regression_and_a_pair(main, given, tmp_path, capsys):
    """Numbers are predicted, of two texts; the score is of correlations."""
    task = write_task(tmp_path / "task", pairs=True, regression=True)
    files = ("--train_file", task / "train.jsonl", "--validation_file", task / "validation.jsonl")
    more = (*files, "--adaptation", "full", "frozen", "--no_random_initialization", "--max_steps", 4)
    assert main(flags_of(given, tmp_path / "run", *more)) == 0
    (cell,) = (cell for cell in results(tmp_path / "run")["cells"] if cell["row"] == "full")
    assert list(cell["by_metric"]) == ["pearson", "spearman"]
    assert "pearson" in capsys.readouterr().out


@pytest.mark.usefixtures("not_reopened")
def test_tasks_are_trained_together_too(main, given, tmp_path):
    """With --multitask the table has one more row of each weights, and each task a model of its own."""
    for name, regression in (("garden", False), ("words", True)):
        write_task(tmp_path / "tasks" / name, regression=regression)
    flags = [*map(str, given[:4]), "--data", str(tmp_path / "tasks"), "--task", "garden", "words", "--multitask"]
    assert main([*flags, "--adaptation", "full", "--max_steps", "4", "--output_dir", str(tmp_path / "run")]) == 0
    rows = ["majority", "full", "full, random weights", "multitask", "multitask, random weights"]
    assert results(tmp_path / "run")["rows"] == rows
    assert len(results(tmp_path / "run")["cells"]) == 10
    for name, outputs in (("garden", 2), ("words", 1)):
        config = json.loads((tmp_path / "run" / name / "multitask/seed-0/model/config.json").read_text())
        assert len(config["id2label"]) == outputs


def test_a_decoder_is_adapted_too(main, given, bpe, tmp_path):
    """GPT-2's class reads the last token, whatever the batch pads."""
    write_model(tmp_path / "gpt", bpe, "gpt2-micro")
    more = ("--model_name_or_path", tmp_path / "gpt", "--no_random_initialization", "--max_steps", 3)
    assert main(flags_of(given, tmp_path / "run", *more)) == 0
    assert {cell["row"] for cell in results(tmp_path / "run")["cells"]} == {"majority", "full", "frozen", "lora"}


@pytest.mark.usefixtures("not_reopened")
def test_submissions_are_written(main, given, wordpiece, tmp_path, capsys):
    """A GLUE task with a test split leaves what the server takes, and says what is missing."""
    folder = tmp_path / "glue" / "cola"
    folder.mkdir(parents=True)
    for split, number in (("train", 40), ("validation", 20), ("test", 12)):
        lines = ["sentence\tlabel", *(f"{text}\t{n % 2}" for n, text in enumerate(sentences(number, number)))]
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    model = given[1]
    flags = ["--model_name_or_path", model, "--data", tmp_path / "glue", "--task", "cola", "--predict_test"]
    more = ("--adaptation", "full", "--no_random_initialization", "--max_steps", 2, "--cpu_threads", 1)
    assert main([*map(str, flags), *map(str, more), "--output_dir", str(tmp_path / "run")]) == 0
    lines = (tmp_path / "run/submission/full/CoLA.tsv").read_text().splitlines()
    assert lines[0] == "index\tprediction"
    assert len(lines) == 13
    told = capsys.readouterr().out
    assert "CoLA.tsv: 12 rows, where the official test split has 1,063" in told
    assert "missing SST-2.tsv" in told


def test_a_submission_of_an_own_task_is_refused(main, given, tmp_path):
    """The GLUE server knows its own tasks only; that is told before anything is trained."""
    more = ("--predict_test", "--test_file", given[9])
    with pytest.raises(HfrepError, match=r"--predict_test: expected one of cola test, .* found garden test; leave"):
        main(flags_of(given, tmp_path / "run", *more))
    assert not list(tmp_path.rglob("logits.npz"))


def test_a_dry_run_trains_nothing(main, given, tmp_path, capsys):
    """It reads the tasks, says what would be done, and stops."""
    assert main(flags_of(given, tmp_path / "run", "--dry_run")) == 0
    assert "garden: train 96, validation 48" in capsys.readouterr().out
    assert not list(tmp_path.rglob("logits.npz"))


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--adaptation", "fulll"], "--adaptation: expected full, frozen, lora, found fulll"),
        (["--adaptation", "full", "full"], "--adaptation: expected one or more, each once, found full full"),
        (["--seeds", "1", "1"], "--seeds: expected one or more, each once, found 1 1"),
        (["--learning_rates", "0"], "--learning_rates: expected numbers above 0, found 0"),
        (["--held_out_share", "1"], "--held_out_share: expected between 0 and 1, found 1"),
        (["--early_stopping_patience", "0"], "--early_stopping_patience: expected 1 or more, found 0"),
        (["--sequence_length", "2"], "--sequence_length: expected 8 or more, found 2"),
        (["--sequence_length", "4096"], "--sequence_length: expected at most the 512 positions that"),
        (["--dropout", "1"], r"--dropout: expected a share in \[0, 1\), found 1"),
        (["--max_steps", "5", "--num_train_epochs", "1"], "the budget: expected exactly one of"),
        (["--extend"], "--extend: expected none, since each of many trainings goes on where it was by itself"),
        (
            ["--resume_from_checkpoint", "none"],
            "--resume_from_checkpoint: expected none, since .* found none; leave it",
        ),
    ],
)
def test_mistakes_are_told(main, given, tmp_path, flags, told):
    """Each in one sentence, before anything is trained."""
    with pytest.raises(HfrepError, match=told):
        main(flags_of(given, tmp_path / "run", *flags))


def test_without_a_model_it_says_how_to_make_one(main, tmp_path, monkeypatch):
    """The default is what recipes/mlm.py leaves."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        HfrepError, match=r"by default runs/mlm/model, found no such folder; make one with recipes/mlm.py"
    ):
        main(["--cpu_threads", "1"])


def test_a_decoder_that_knows_no_padding(main, given, bpe, tmp_path):
    """A GPT-2 whose tokenizer and config have no pad token is adapted, and its adapter opens as the card says."""
    folder = write_model(tmp_path / "gpt", bpe, "gpt2-micro")
    for name, key in (("config.json", "pad_token_id"), ("tokenizer_config.json", "pad_token")):
        facts = json.loads((folder / name).read_text())
        facts.pop(key, None)
        (folder / name).write_text(json.dumps(facts))
    more = ("--model_name_or_path", folder, "--no_random_initialization", "--max_steps", 2, "--adaptation", "lora")
    assert main(flags_of(given, tmp_path / "run", *more)) == 0
    card = (tmp_path / "run/garden/lora/seed-0/adapter/README.md").read_text()
    assert "pad_token_id=" in card
    assert "- a process without hfrep opens it as PeftModelForSequenceClassification" in card
