"""Checkpoints: complete or not at all, one writer, and messages that say what to do."""

import json
import os
import resource
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from micros import micro
from torch import nn

from hfrep.errors import CheckpointError, ConfigError, TrainingError
from hfrep.export import whole, written_aside
from hfrep.training import checkpoint
from hfrep.training.checkpoint import (
    Checkpoints,
    CheckpointSettings,
    TrainerState,
    one_writer,
    read_state,
    require_room,
)


def state(step):
    return TrainerState(step=step, seconds=0.0, processes=1, identity={}, schedule={})


@pytest.fixture
def checkpoints(tmp_path):
    accelerator = Accelerator(cpu=True)
    model = nn.Linear(64, 64)
    accelerator.prepare(model, torch.optim.AdamW(model.parameters()))
    yield Checkpoints(accelerator, CheckpointSettings(output_dir=str(tmp_path), save_total_limit=2))
    accelerator.free_memory()


def steps(checkpoints):
    return sorted(path.name for path in checkpoints.folder.glob("*step*"))


def test_the_newest_are_kept(checkpoints):
    """Three saves under a limit of two leave the last two, and latest names the last."""
    for step in (9, 10, 11):
        checkpoints.save(state(step))
    assert steps(checkpoints) == ["step-10", "step-11"]
    assert read_state(checkpoints.latest()).step == 11


def test_the_old_one_stands_until_the_new_one_does(checkpoints, monkeypatch):
    """D8: a save that dies before the pointer moves leaves the previous checkpoint whole and named."""
    checkpoints.save(state(1))

    def die(*arguments, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "_flush", die)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(state(2))
    assert checkpoints.latest().name == "step-1"
    assert read_state(checkpoints.latest()).step == 1


def test_a_full_disk_leaves_the_previous_checkpoint(checkpoints, monkeypatch):
    """The message names the cause and where a restart goes on, and nothing half written stays."""
    checkpoints.save(state(1))

    def fill(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.accelerator, "save_state", fill)
    with pytest.raises(TrainingError, match=r"room to write a checkpoint, found .*No space left.*resumes from step-1"):
        checkpoints.save(state(2))
    assert steps(checkpoints) == ["step-1"]
    assert checkpoints.latest().name == "step-1"


def test_a_write_that_fails_leaves_the_previous_checkpoint(checkpoints):
    """The system itself refuses to write more than a kilobyte, as a full disk would: step-1 stands and loads."""
    checkpoints.save(state(1))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        with pytest.raises(TrainingError, match=r"room to write a checkpoint, found .+resumes from step-1"):
            checkpoints.save(state(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert steps(checkpoints) == ["step-1"]
    checkpoints.load(checkpoints.latest())


def test_a_tied_head_is_saved_whole(tmp_path):
    """D9: every key of the state dict is in the checkpoint, the tied head's too."""
    accelerator = Accelerator(cpu=True)
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10))
    model[1].weight = model[0].weight
    accelerator.prepare(model)
    folder = Checkpoints(accelerator, CheckpointSettings(output_dir=str(tmp_path))).save(state(1))
    stored = torch.load(folder / "pytorch_model.bin")
    accelerator.free_memory()
    assert set(stored) == set(model.state_dict())


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_is_filled_in_part_takes_no_room(tmp_path, error):
    """It is removed, and what stood there stays."""
    (tmp_path / "model").mkdir()

    def fill():
        with written_aside(tmp_path / "model") as aside:
            (aside / "weights").touch()
            raise error

    with pytest.raises(error):
        fill()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_gathering_shards_draws_nothing(wordpiece):
    """A run that goes on draws the same whether its model was gathered at a checkpoint or not."""
    model = micro("bert-micro", wordpiece)
    before = torch.random.get_rng_state()
    gathered = whole(model, SimpleNamespace(distributed_type=DistributedType.FSDP, is_main_process=True))
    assert gathered is not model
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(weight, gathered.state_dict()[name]) for name, weight in model.state_dict().items())


def test_room_is_checked_before_training(tmp_path):
    """More than the disk has is refused with both sizes."""
    with pytest.raises(TrainingError, match="MB free for two checkpoints, found"):
        require_room(tmp_path, 10**18)


def test_a_truncated_checkpoint_is_refused(checkpoints):
    """The message names the file with the bytes it should have."""
    folder = checkpoints.save(state(1))
    with open(folder / "pytorch_model.bin", "r+b") as file:
        file.truncate(100)
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin: expected [\d,]+ bytes, found 100 \(truncated"):
        read_state(folder)


def test_a_damaged_checkpoint_is_refused(checkpoints):
    """One byte of a file that has kept its size, random states among them."""
    folder = checkpoints.save(state(1))
    for name in ("pytorch_model.bin", "random_states_0.pkl"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        with pytest.raises(CheckpointError, match=rf"{name}: expected the bytes that were written, found others"):
            read_state(folder)
        (folder / name).write_bytes(content)
    assert read_state(folder).step == 1


@pytest.mark.parametrize("content", ['{"format": 1, "epoch": 3}', '{"format": "x"}', "[]", "{"])
def test_a_foreign_state_is_refused(tmp_path, content):
    """A file of that name that another program wrote."""
    (tmp_path / "trainer_state.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"expected a checkpoint of hfrep.*found a folder without a readable one"):
        read_state(tmp_path)


def test_a_start_that_died_early_leaves_the_folder_ours(tmp_path):
    """Before run.json stands there may be a piece of it."""
    (tmp_path / ".run.json").write_text("{")
    with one_writer(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith("process ")


def test_a_foreign_folder_is_refused(tmp_path):
    """A folder without our state file is no checkpoint, and a missing one is told as missing."""
    with pytest.raises(CheckpointError, match=r"expected a checkpoint of hfrep.*found a folder without"):
        read_state(tmp_path)
    with pytest.raises(CheckpointError, match="no such folder"):
        read_state(tmp_path / "nowhere")


def test_a_newer_checkpoint_is_refused(checkpoints):
    """A format of the future is named."""
    folder = checkpoints.save(state(1))
    content = json.loads((folder / "trainer_state.json").read_text())
    (folder / "trainer_state.json").write_text(json.dumps(content | {"format": 99, "new": 1}))
    with pytest.raises(CheckpointError, match="format 1 or older, found format 99; resume with the newer hfrep"):
        read_state(folder)


def test_a_second_writer_is_refused(tmp_path):
    """While one run holds the folder, a second start is told its process; afterwards it may."""
    with (
        one_writer(tmp_path),
        pytest.raises(CheckpointError, match=f"no other process writing to this run, found process {os.getpid()} on "),
        one_writer(tmp_path),
    ):
        pass
    with one_writer(tmp_path):
        pass


def test_a_killed_owner_holds_nobody_up(tmp_path):
    """The system takes the lock from a process that SIGKILL ends, whatever it left in the file."""
    code = (
        "import os, signal, sys; from pathlib import Path; from hfrep.training.checkpoint import one_writer\n"
        "with one_writer(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    assert "process" in (tmp_path / ".lock").read_text()
    with one_writer(tmp_path):
        assert f"process {os.getpid()} on" in (tmp_path / ".lock").read_text()


@pytest.mark.parametrize("name", ["thesis.tex", "checkpoints/step-1/precious.pt", "run.json"])
def test_a_folder_with_other_files_is_refused(tmp_path, name):
    """Somebody's folder is not written into, also where its files are called as ours are."""
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("{}")
    found = name.split("/")[0]
    with (
        pytest.raises(CheckpointError, match=rf"an empty folder or a run's, found other files \({found}\)"),
        one_writer(tmp_path),
    ):
        pass
    assert (tmp_path / name).exists()


def test_only_checkpoints_are_pruned(checkpoints):
    """A folder that is named like an old checkpoint and is none stays, and so does a file."""
    (checkpoints.folder / "step-1").mkdir(parents=True)
    (checkpoints.folder / "step-100.ckpt").write_text("")
    for step in (2, 3, 4):
        checkpoints.save(state(step))
    assert steps(checkpoints) == ["step-1", "step-100.ckpt", "step-3", "step-4"]


def test_a_lost_pointer_is_no_lost_run(checkpoints):
    """Without the file `latest` the newest complete checkpoint is found by its number."""
    for step in (9, 10):
        checkpoints.save(state(step))
    (checkpoints.folder / "latest").unlink()
    assert checkpoints.latest().name == "step-10"


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    """An output folder below a file."""
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(CheckpointError, match=r"a folder that can be written, found .*Not a directory"),
        one_writer(tmp_path / "file" / "run"),
    ):
        pass


@pytest.mark.parametrize("name", ["save_steps", "save_total_limit"])
def test_limits_below_one_are_refused(name):
    """Zero is told by name."""
    with pytest.raises(ConfigError, match=f"{name}: expected 1 or more, found 0"):
        CheckpointSettings(**{name: 0})
