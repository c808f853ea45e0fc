"""Resume-proof: a run killed anywhere continues bit for bit."""

import json
import os
import signal

import pytest
import tiny
from conftest import documents

from hfrep.errors import CheckpointError, ConfigError
from hfrep.training.loop import Training


@pytest.fixture(scope="module")
def rows(wordpiece, tmp_path_factory):
    return tiny.blocks(documents(30), wordpiece, tmp_path_factory.mktemp("blocks"))


@pytest.fixture(scope="module")
def straight(rows, wordpiece, tmp_path_factory):
    """An uninterrupted run with dropout: its losses and the hash of its weights."""
    outcome, losses, weights = tiny.train(tmp_path_factory.mktemp("straight") / "run", rows, wordpiece, **RUN)
    assert outcome.interruption is None  # a SIGTERM to the tests would end it early, as it should
    return losses, weights


RUN = {"steps": 12, "train_batch_size": 16, "dropout": 0.1}


@pytest.mark.parametrize(("stop", "workers"), [(1, 0), (5, 0), ("end of a pass", 0), (5, 2)])
def test_killed_and_resumed_is_the_straight_run(rows, wordpiece, straight, tmp_path, stop, workers):
    """Straight ≡ killed after step 1, 5 or the last step of a pass and resumed: weights equal in every bit (D4)."""
    stop = -(-len(rows) // RUN["train_batch_size"]) if stop == "end of a pass" else stop
    assert 0 < stop < RUN["steps"]
    settings = RUN | {"save_steps": stop, "dataloader_num_workers": workers}
    with pytest.raises(tiny.Killed):
        tiny.train(tmp_path / "run", rows, wordpiece, kill_at=stop, **settings)
    outcome, losses, weights = tiny.train(tmp_path / "run", rows, wordpiece, **settings)
    assert outcome.step == RUN["steps"]
    assert (losses, weights) == straight


@pytest.mark.parametrize("objective", [name for name in tiny.OBJECTIVES if name != "mlm"])
def test_other_objectives_resume_too(wordpiece, tmp_path, objective):
    """Killed in two passes, with dropout, and resumed with a worker at last: weights equal in every bit."""
    rows = tiny.blocks(documents(30), wordpiece, tmp_path / "blocks", causal=objective == "clm")
    settings = RUN | {"objective": objective}
    straight = tiny.train(tmp_path / "straight", rows, wordpiece, **settings)[1:]
    for stop in (1, 8):
        with pytest.raises(tiny.Killed):
            tiny.train(tmp_path / "run", rows, wordpiece, kill_at=stop, save_steps=1, **settings)
    assert tiny.train(tmp_path / "run", rows, wordpiece, dataloader_num_workers=1, **settings)[1:] == straight


def test_two_stops_are_no_worse_than_one(rows, wordpiece, straight, tmp_path):
    """Killed at steps 2 and 8 of one run, the weights are still the straight run's."""
    for stop in (2, 8):
        with pytest.raises(tiny.Killed):
            tiny.train(tmp_path / "run", rows, wordpiece, kill_at=stop, save_steps=2, **RUN)
    assert tiny.train(tmp_path / "run", rows, wordpiece, save_steps=2, **RUN)[1:] == straight


def test_a_signal_finishes_the_step_and_saves(rows, wordpiece, straight, tmp_path, capsys):
    """SIGTERM in the middle of a step: that step is finished and saved, the user is told, and resuming is exact."""

    def evaluate(module):
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    outcome, losses, _ = tiny.train(tmp_path / "run", rows, wordpiece, evaluate=evaluate, eval_steps=4, **RUN)
    assert (outcome.step, outcome.interruption, outcome.exit_status) == (5, "SIGTERM", 143)
    assert losses == straight[0][:5]
    assert "stopped after step 5 (SIGTERM) and saved; the same command goes on from there" in capsys.readouterr().out
    assert tiny.train(tmp_path / "run", rows, wordpiece, **RUN)[1:] == straight


def test_other_settings_are_refused(rows, wordpiece, tmp_path):
    """A resume with another learning rate is refused and the message lists it; a longer schedule asks for --extend."""
    with pytest.raises(tiny.Killed):
        tiny.train(tmp_path / "run", rows, wordpiece, kill_at=2, save_steps=2, **RUN)
    with pytest.raises(CheckpointError, match=r"found others \(learning_rate: 0\.001 → 0\.5; .*\); restore them or"):
        tiny.train(tmp_path / "run", rows, wordpiece, learning_rate=0.5, **RUN)
    schedule = {"lr_scheduler_type": "cosine"}
    with pytest.raises(CheckpointError, match=r"lr_scheduler_type: linear → cosine\); add --extend"):
        tiny.train(tmp_path / "run", rows, wordpiece, **RUN, **schedule)
    outcome, _, _ = tiny.train(tmp_path / "run", rows, wordpiece, extend=True, **RUN, **schedule)
    assert outcome.step == RUN["steps"]


def test_the_precision_belongs_to_the_run(rows, wordpiece, tmp_path):
    """Whoever set it, settings or launcher: a checkpoint says which it was, and another is refused."""
    with pytest.raises(tiny.Killed):
        tiny.train(tmp_path / "run", rows, wordpiece, kill_at=2, save_steps=2, **RUN)
    file = tmp_path / "run" / "checkpoints" / "step-2" / "trainer_state.json"
    content = json.loads(file.read_text())
    assert content["identity"]["precision"] == "no"
    content["identity"]["precision"] = "bf16"
    file.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"found others \(precision: bf16 → no\)"):
        tiny.train(tmp_path / "run", rows, wordpiece, **RUN)


def test_a_budget_that_is_already_spent_is_refused(rows, wordpiece, tmp_path):
    """Weights of 12 steps are not passed off as those of 4."""
    tiny.train(tmp_path / "run", rows, wordpiece, **RUN)
    with pytest.raises(ConfigError, match="expected at least the 12 steps that step-12 has done, found 4 steps"):
        tiny.train(tmp_path / "run", rows, wordpiece, extend=True, **(RUN | {"steps": 4}))


def test_free_settings_may_change(rows, wordpiece, straight, tmp_path):
    """Micro-batch size, logging and workers may change at a resume; the losses stay."""
    with pytest.raises(tiny.Killed):
        tiny.train(tmp_path / "run", rows, wordpiece, kill_at=6, save_steps=6, **RUN)
    _, losses, weights = tiny.train(tmp_path / "run", rows, wordpiece, save_total_limit=1, eval_steps=3, **RUN)
    assert (losses, weights) == straight


def test_an_evaluation_that_a_stop_came_before_is_made_up(rows, wordpiece, tmp_path, monkeypatch):
    """Stopped in a step that is due for an evaluation, the run has it when it goes on, and no other twice."""
    settings = RUN | {"eval_steps": 4}

    def evaluations(folder):
        lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        return [line["step"] for line in lines if "eval_loss" in line]

    def train():
        return tiny.train(tmp_path / "run", rows, wordpiece, evaluate=lambda module: {"eval_loss": 1.0}, **settings)

    whole = Training._step

    def asked_to_stop(self, batches, stop):
        if self.state.step == 7:
            os.kill(os.getpid(), signal.SIGTERM)
            stop = True
        return whole(self, batches, stop)

    monkeypatch.setattr(Training, "_step", asked_to_stop)
    outcome, *_ = train()
    assert (outcome.step, outcome.exit_status) == (8, 128 + signal.SIGTERM)
    assert evaluations(tmp_path / "run") == [4]
    monkeypatch.setattr(Training, "_step", whole)
    train()
    assert evaluations(tmp_path / "run") == [4, 8, 12]
