"""Two CPU processes compute what one does, and go on where one stopped."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from conftest import documents

from hfrep.training.checkpoint import one_writer

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, os, sys
import torch, tiny
from pathlib import Path
from hfrep.data.blocks import Blocks
from hfrep.data.tokenizer import load_tokenizer
from hfrep.errors import CheckpointError
torch.set_num_threads(1)
folder, blocks, tokenizer, options = sys.argv[1:]
try:
    tiny.train(folder, Blocks(Path(blocks)), load_tokenizer(tokenizer), **json.loads(options))
except tiny.Killed:
    os._exit(0)  # as a SIGKILL would: nothing is taken down
except CheckpointError as error:
    Path(folder + "-refused-" + os.environ["RANK"]).write_text(str(error))
"""

pytestmark = pytest.mark.multiprocess


@pytest.fixture(scope="module")
def rows(wordpiece, tmp_path_factory):
    return tiny.blocks(documents(60), wordpiece, tmp_path_factory.mktemp("blocks"))


def run_two(tmp_path, folder, rows, tokenizer_folder, **options):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    run = subprocess.run(
        [*command, str(folder), str(rows.folder), str(tokenizer_folder), json.dumps(options)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests"), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]


@pytest.mark.parametrize(("objective", "batch", "micro"), [("mlm", 32, 16), ("mlm", 13, 6), ("clm", 13, 6)])
def test_two_processes_are_one(wordpiece, tokenizer_folder, tmp_path, objective, batch, micro):
    """1 × 32 ≡ 2 processes × 16 ≡ 2 processes with uneven slices and micro-batches: losses to 1e-5."""
    rows = tiny.blocks(documents(60), wordpiece, tmp_path, causal=objective == "clm")
    settings = {"objective": objective, "steps": 4, "train_batch_size": batch}
    _, one, _ = tiny.train(tmp_path / "one", rows, wordpiece, **settings)
    run_two(tmp_path, tmp_path / "two", rows, tokenizer_folder, per_device_train_batch_size=micro, **settings)
    assert tiny.losses(tmp_path / "two") == pytest.approx(one, rel=1e-5)


def test_a_run_moves_between_one_and_two_processes(rows, wordpiece, tokenizer_folder, tmp_path):
    """Begun by two processes and resumed by one, the run has the same rows and masks: the same losses (D13)."""
    settings = {"steps": 6, "train_batch_size": 16, "save_steps": 3}
    _, straight, _ = tiny.train(tmp_path / "straight", rows, wordpiece, **settings)
    run_two(tmp_path, tmp_path / "moved", rows, tokenizer_folder, kill_at=3, **settings)
    assert len(tiny.losses(tmp_path / "moved")) == 3
    _, losses, _ = tiny.train(tmp_path / "moved", rows, wordpiece, **settings)
    assert losses == pytest.approx(straight, rel=1e-5)


def test_what_one_process_is_refused_no_process_may(rows, tokenizer_folder, tmp_path):
    """A folder that another run writes to: both processes end with the main one's sentence, and none waits."""
    folder = tmp_path / "run"
    with one_writer(folder):
        run_two(tmp_path, folder, rows, tokenizer_folder, steps=1)
    told = [(tmp_path / f"run-refused-{rank}").read_text() for rank in (0, 1)]
    assert told[0] == told[1]
    assert "expected no other process writing to this run" in told[0]
