"""What a launcher does to a run: missing processes, unknown precision, a launcher that dies."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from accelerate import Accelerator
from accelerate.utils import DistributedType
from conftest import TWO_PROCESSES

from hfrep.errors import ConfigError
from hfrep.training.launch import LaunchSettings, start
from hfrep.training.optim import OptimizerSettings, require_whole_matrices

RECIPE = Path(__file__).parents[2] / "recipes" / "mlm.py"
SCRIPT = """
import sys
from hfrep.errors import told_in_one_sentence
from hfrep.training.launch import LaunchSettings, start
with told_in_one_sentence():
    print("processes", start(LaunchSettings(), "unused").num_processes)
"""
ACCELERATE = ["-m", "accelerate.commands.launch", "--quiet"]
CPU_CONFIG = """
compute_environment: LOCAL_MACHINE
distributed_type: MULTI_CPU
num_machines: 1
num_processes: 2
mixed_precision: "no"
use_cpu: true
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    (tmp_path / "two_cpus.yaml").write_text(CPU_CONFIG)
    return path


def run(script, *flags, **environment):
    kept = {name: value for name, value in os.environ.items() if name != "ACCELERATE_USE_CPU"}
    command = [sys.executable, *flags, str(script)]
    return subprocess.run(
        command, cwd=script.parent, env=kept | environment, capture_output=True, text=True, check=False
    )


@pytest.mark.multiprocess
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([*ACCELERATE, "--cpu", "--num_processes", "2"], "several"),
        ([*ACCELERATE, "--config_file", "two_cpus.yaml"], "several"),
        (["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"], "2"),
    ],
)
def test_d11_a_launcher_that_starts_one_process_is_caught(script, flags, expected):
    """D11: meant as two, run as one or as two strangers; the recipe stops and names the command that gives two."""
    ended = run(script, *flags)
    assert ended.returncode != 0
    assert f"expected {expected} processes that train together, found 1; on CPUs start N of them with" in ended.stderr
    assert "ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes N" in ended.stderr
    assert "processes 1" not in ended.stdout


@pytest.mark.multiprocess
def test_the_command_it_names_gives_two(script):
    """What the message says to type works."""
    ended = run(script, *ACCELERATE, *TWO_PROCESSES, ACCELERATE_USE_CPU="true")
    assert (ended.stdout.count("processes"), ended.stdout.count("2")) == (2, 2), ended.stderr


def test_one_process_is_no_mistake(script):
    """Plain python and a plain launch run one process and say nothing."""
    for flags in ([], [*ACCELERATE, "--cpu"]):
        ended = run(script, *flags)
        assert "processes 1" in ended.stdout, ended.stderr


def test_precision_that_the_device_lacks_is_one_sentence(script):
    """fp16 needs a GPU: told as a setting to correct, also where it comes from the launcher's configuration."""
    ended = run(script, ACCELERATE_USE_CPU="true", ACCELERATE_MIXED_PRECISION="fp16")
    assert ended.returncode == 2
    assert "error: mixed precision: expected no or bf16 on a CPU, found fp16; give" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_unknown_tracker_is_one_sentence():
    """A tracker that accelerate does not know is told as a setting to correct."""
    with pytest.raises(ConfigError, match=r"--report_to: expected trackers that accelerate knows, found .*nobody"):
        start(LaunchSettings(report_to=["nobody"]), "unused")


@pytest.mark.parametrize("kind", ["DEEPSPEED", "FSDP"])
def test_other_ways_to_shard_are_refused(monkeypatch, kind):
    """DeepSpeed and FSDP1 do not go with the loop: the sentence names what does."""
    accelerator = type(Accelerator(cpu=True))
    monkeypatch.setattr(accelerator, "distributed_type", DistributedType[kind])
    monkeypatch.setattr(accelerator, "is_fsdp2", False)
    with pytest.raises(ConfigError, match=r"expected one process, data parallelism, or FSDP2, found .*fsdp2\.yaml"):
        start(LaunchSettings(), "unused")


def test_recomputation_by_fsdp_is_refused(monkeypatch):
    """The last layer is to be computed once; the flag that leaves it out is named."""
    accelerator = Accelerator(cpu=True)
    monkeypatch.setattr(type(accelerator), "distributed_type", DistributedType.FSDP)
    monkeypatch.setattr(type(accelerator), "is_fsdp2", True)
    plugin = type("Plugin", (), {"activation_checkpointing": True})()
    monkeypatch.setitem(accelerator.state._shared_state, "fsdp_plugin", plugin)
    with pytest.raises(ConfigError, match=r"expected fsdp_activation_checkpointing: false, found true; give --grad"):
        start(LaunchSettings(), "unused")


@pytest.mark.parametrize(("kind", "advice"), [("FSDP", "adamw."), ("NO", "bf16.")])
def test_muon_is_refused_where_matrices_are_not_whole(monkeypatch, kind, advice):
    """Sharded parameters and gradient scalers go with AdamW; the sentence says so."""
    accelerator = Accelerator(cpu=True)
    monkeypatch.setattr(type(accelerator), "distributed_type", DistributedType[kind])
    if kind == "NO":
        accelerator.scaler = object()
    require_whole_matrices(OptimizerSettings(optimizer="adamw"), accelerator)
    with pytest.raises(ConfigError, match=r"--optimizer muon: expected whole matrices") as told:
        require_whole_matrices(OptimizerSettings(optimizer="muon"), accelerator)
    assert str(told.value).endswith(advice)


def test_d16_a_run_whose_launcher_died_saves_and_ends(corpus_file, tokenizer_folder, tmp_path):
    """D16: SIGKILL of the launcher alone leaves its child training; ours notices, saves, and says how to go on."""
    flags = {
        "corpus": corpus_file,
        "tokenizer": tokenizer_folder,
        "model": "bert-micro",
        "sequence_length": 32,
        "max_steps": 1_000_000,
        "save_steps": 1_000_000,
        "cpu_threads": 1,
        "output_dir": tmp_path / "run",
    }
    given = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    with open(tmp_path / "printed", "w") as printed:
        launcher = subprocess.Popen([sys.executable, *ACCELERATE, str(RECIPE), *given], stdout=printed)
    metrics = tmp_path / "run" / "metrics.jsonl"
    _wait(lambda: metrics.exists() and metrics.stat().st_size > 0)
    (child,) = psutil.Process(launcher.pid).children()
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    _wait(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert "(its launcher died) and saved; the same command goes on from there" in (tmp_path / "printed").read_text()
    assert (tmp_path / "run" / "checkpoints" / "latest").exists()


def _wait(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_precision_that_is_given_beats_the_launchers(tmp_path):
    """What the environment says holds where no flag is given, and the run knows what it came to."""
    script = tmp_path / "precision.py"
    script.write_text(
        "import sys\n"
        "from hfrep.training.launch import LaunchSettings, start\n"
        "settings = LaunchSettings(mixed_precision=sys.argv[1] if sys.argv[1:] else None)\n"
        "print(start(settings, 'unused').mixed_precision)\n"
    )
    environment = os.environ | {"ACCELERATE_MIXED_PRECISION": "bf16"}
    printed = [
        subprocess.run(
            [sys.executable, str(script), *given], env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()
        for given in ([], ["no"])
    ]
    assert printed == ["bf16", "no"]
