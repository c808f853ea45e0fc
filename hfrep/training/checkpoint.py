"""Atomic checkpoints, exact resume, rotation, and one writer per run folder.

A checkpoint is the whole training state: weights, optimizer states and random states as `Accelerator.save_state` writes
them (without its safetensors option, which drops the key of a tied head), and ``trainer_state.json`` with the step and
what the run is. It is written into ``.tmp-step-N``, flushed to the disk and renamed; then ``latest`` is replaced; only
then is the oldest one pruned. So at any moment ``latest`` names a complete checkpoint.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pickle
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from hfrep.errors import CheckpointError, ConfigError, TrainingError
from hfrep.settings import differences, setting

FORMAT = 1
STATE_FILE = "trainer_state.json"
LATEST = "latest"
LOCK = ".lock"


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings:
    output_dir: str = setting("", "the run's folder", kind="operation")
    save_steps: int = setting(500, "optimizer steps between checkpoints", kind="operation")
    save_total_limit: int = setting(2, "checkpoints kept; the oldest go first", kind="operation")
    resume_from_checkpoint: str = setting(
        "auto",
        "auto: the newest in output_dir, if any; none: start anew; or a path",
        kind="operation",
    )
    extend: bool = setting(False, "allow a resumed run another budget or schedule", kind="operation")

    def __post_init__(self) -> None:
        for name in ("save_steps", "save_total_limit"):
            if getattr(self, name) < 1:
                found = str(getattr(self, name))
                raise ConfigError(where=name, expected="1 or more", found=found, do="raise it")


@dataclass(frozen=True)
class TrainerState:
    """What a checkpoint says of itself beside weights, optimizer and random states.

    Attributes:
        step: optimizer steps done.
        seconds: training time so far.
        processes: how many processes wrote it.
        identity, schedule: the run's settings of these kinds, and what was read (fingerprints), by name.
        files: size in bytes of each other file of the checkpoint.
        digests: of their content, by BLAKE2b.
    """

    step: int
    seconds: float
    processes: int
    identity: Mapping[str, Any]
    schedule: Mapping[str, Any]
    files: Mapping[str, int] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT


class Checkpoints:
    """The folder ``checkpoints`` of a run."""

    def __init__(self, accelerator: Accelerator, settings: CheckpointSettings) -> None:
        self.accelerator = accelerator
        self.folder = Path(settings.output_dir) / "checkpoints"
        self.limit, self.save_steps = settings.save_total_limit, settings.save_steps

    def latest(self) -> Path | None:
        """The newest complete checkpoint: the one that ``latest`` names, or by its number where that file is lost."""
        pointer = self.folder / LATEST
        if pointer.is_file():
            return self.folder / pointer.read_text().strip()
        return max(self._complete_ones(), key=_step, default=None)

    def _complete_ones(self) -> list[Path]:
        return [path.parent for path in self.folder.glob(f"step-*/{STATE_FILE}")]

    def save(self, state: TrainerState) -> Path:
        """Write a complete checkpoint; on every process.

        Raises:
            TrainingError: it could not be written, and the one before it stands.
        """
        final = self.folder / f"step-{state.step}"
        aside = self.folder / f".tmp-step-{state.step}"
        problem = ""
        if self.accelerator.is_main_process:
            shutil.rmtree(aside, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        try:
            self.accelerator.save_state(str(aside), safe_serialization=False)
        except (OSError, RuntimeError) as error:  # torch tells a full disk as a RuntimeError
            problem = str(error).splitlines()[0]
        problem = self._anybodys(problem)
        if self.accelerator.is_main_process and not problem:
            try:
                self._complete(aside, final, state)
            except OSError as error:
                problem = str(error)
        problem = self._anybodys(problem)
        if problem:
            shutil.rmtree(aside, ignore_errors=True)
            before = self.latest()
            raise TrainingError(
                where=str(final),
                expected="room to write a checkpoint",
                found=problem,
                do=f"free space and start again, which resumes from {before.name if before else 'the beginning'}",
            )
        return final

    def _anybodys(self, problem: str) -> str:
        """The first problem that any process has; empty where none has one. Waits for all of them."""
        return next(filter(None, gather_object([problem])), "")

    def _complete(self, aside: Path, final: Path, state: TrainerState) -> None:
        paths = [path for path in sorted(aside.iterdir()) if path.is_file()]
        facts = {
            "files": {path.name: path.stat().st_size for path in paths},
            "digests": {path.name: _digest(path) for path in paths},
        }
        (aside / STATE_FILE).write_text(json.dumps(vars(state) | facts, indent=1))
        for path in [*aside.rglob("*"), aside]:
            _flush(path)
        shutil.rmtree(final, ignore_errors=True)
        aside.rename(final)
        pointer = self.folder / f".{LATEST}"
        pointer.write_text(final.name)
        _flush(pointer)
        pointer.replace(self.folder / LATEST)
        _flush(self.folder)
        complete = sorted((path for path in self._complete_ones() if path != final), key=_step)
        for old in complete[: max(0, len(complete) + 1 - self.limit)]:
            shutil.rmtree(old, ignore_errors=True)

    def load(self, folder: Path) -> None:
        """Restore weights, optimizers and random states from a checkpoint that `read_state` has accepted."""
        try:
            self.accelerator.load_state(str(folder))
        except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
            raise CheckpointError(
                where=str(folder),
                expected="the training state of this run's model and optimizers",
                found=str(error).splitlines()[0],
                do="resume from another checkpoint with --resume_from_checkpoint PATH",
            ) from error


def read_state(folder: Path) -> TrainerState:
    """What the checkpoint `folder` says of itself.

    Raises:
        CheckpointError: it is foreign, newer than this hfrep, or has files missing, truncated or damaged.
    """
    advice = "name another with --resume_from_checkpoint PATH, or give another --output_dir to start anew"
    try:
        content = json.loads((folder / STATE_FILE).read_text())
        found_format = int(content["format"])
        state = None if found_format > FORMAT else TrainerState(**content)
    except (OSError, ValueError, KeyError, TypeError):
        found = "a folder without a readable one" if folder.is_dir() else "no such folder"
        raise CheckpointError(
            where=str(folder), expected=f"a checkpoint of hfrep, with {STATE_FILE}", found=found, do=advice
        ) from None
    if state is None:
        raise CheckpointError(
            where=str(folder),
            expected=f"a checkpoint of format {FORMAT} or older",
            found=f"format {found_format}",
            do="resume with the newer hfrep that wrote it",
        )
    for name, size in state.files.items():
        path = folder / name
        actual = path.stat().st_size if path.exists() else 0
        if actual != size:
            raise CheckpointError(
                where=str(path), expected=f"{size:,} bytes", found=f"{actual:,} (truncated or missing)", do=advice
            )
        if name in state.digests and _digest(path) != state.digests[name]:
            raise CheckpointError(
                where=str(path), expected="the bytes that were written", found="others (damaged)", do=advice
            )
    return state


def refuse_differences(stored: TrainerState, ours: TrainerState, *, extend: bool) -> None:
    """Check that the run to resume is the same one.

    Raises:
        CheckpointError: settings of the identity kind differ, or of the schedule kind without `extend`.
    """
    changed = differences(ours.identity, stored.identity)
    if changed:
        raise CheckpointError(
            where="the run to resume",
            expected="the settings it was started with",
            found=f"others ({'; '.join(changed)})",
            do="restore them or give another --output_dir",
        )
    changed = differences(ours.schedule, stored.schedule)
    if changed and not extend:
        raise CheckpointError(
            where="the run to resume",
            expected="the budget and schedule it was started with",
            found=f"others ({'; '.join(changed)})",
            do="add --extend to go on with the new ones",
        )


def require_room(folder: Path, state_bytes: int) -> None:
    """Check before training that the disk can take two checkpoints: the new one stands before the old one goes.

    Raises:
        TrainingError: there is less room than that.
    """
    free = shutil.disk_usage(folder).free
    if free < 2 * state_bytes:
        raise TrainingError(
            where=str(folder),
            expected=f"{2 * state_bytes / 1e6:,.0f} MB free for two checkpoints",
            found=f"{free / 1e6:,.0f} MB",
            do="free space or give an --output_dir on another disk",
        )


def state_bytes(module: torch.nn.Module, moments: int = 2) -> int:
    """Bytes of a checkpoint of `module`: parameters, buffers and `moments` optimizer numbers for each parameter."""
    parameters = sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
    return parameters * (1 + moments) + sum(buffer.numel() * buffer.element_size() for buffer in module.buffers())


@contextlib.contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Hold the run folder's lock, which the system lets go of when its holder ends, however it ends.

    Raises:
        CheckpointError: another process holds it, or the folder cannot be written or is not a run's.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        require_ours(folder)
    except OSError as error:
        raise _not_writable(folder, error) from None
    with locked(folder):
        yield


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder that is there, whatever it holds.

    Raises:
        CheckpointError: another process holds it, or it cannot be taken.
    """
    with contextlib.ExitStack() as held:
        try:
            _lock(held.enter_context(open(folder / LOCK, "a+")))
        except OSError as error:
            raise _not_writable(folder, error) from None
        yield


def _not_writable(folder: Path, error: OSError) -> CheckpointError:
    return CheckpointError(
        where=str(folder), expected="a folder that can be written", found=str(error), do="give another --output_dir"
    )


def require_ours(folder: Path) -> None:
    """Refuse a `folder` that holds something and is not a run's.

    Raises:
        CheckpointError: it is such a folder.
    """
    content = {path.name for path in folder.iterdir()} - {LOCK, ".run.json"}
    if content and not _describes_a_run(folder / "run.json"):
        raise CheckpointError(
            where=str(folder),
            expected="an empty folder or a run's",
            found=f"other files ({', '.join(sorted(content)[:3])})",
            do="give another --output_dir",
        )


def _describes_a_run(file: Path) -> bool:
    try:
        return "identity" in json.loads(file.read_text())
    except (OSError, ValueError, TypeError):
        return False


def _lock(file: IO[str]) -> None:
    """Take the lock on the open `file`, and write into it who has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise CheckpointError(
            where=str(Path(file.name).parent),
            expected="no other process writing to this run",
            found=file.read().strip() or "another process",
            do="wait for it, stop it, or give another --output_dir",
        ) from None
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def _digest(file: Path) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "blake2b").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
