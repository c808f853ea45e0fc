"""A run from outside the loop: its folder, what it is, whether it is done, where it goes on, and how it is told."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from hfrep.data.order import Order
from hfrep.data.rows import Rows
from hfrep.errors import CheckpointError, TrainingError
from hfrep.models.scaling import tokens_per_second
from hfrep.objectives.base import Objective
from hfrep.settings import as_dict
from hfrep.training.budget import Budget
from hfrep.training.checkpoint import (
    Checkpoints,
    CheckpointSettings,
    TrainerState,
    one_writer,
    read_state,
    refuse_differences,
    require_room,
    state_bytes,
)
from hfrep.training.launch import describe_device, on_main
from hfrep.training.loop import LoopSettings, Outcome, Training
from hfrep.training.optim import OptimizerSettings
from hfrep.training.record import Record, RecordSettings, environment


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The settings that every training recipe has."""

    loop: LoopSettings
    optimizer: OptimizerSettings
    checkpoint: CheckpointSettings
    record: RecordSettings


class Run:
    """One run folder and the training that fills it.

    Args:
        groups: all settings of the recipe, as `hfrep.settings.parse` gave them.
        facts: what the settings do not say of the run's identity: fingerprints of what was read.
        quiet: one training among many, whose result is kept by who started it: print nothing but a bar, and that it
            was interrupted; draw no plot, and save nothing at the end.
    """

    def __init__(
        self, accelerator: Accelerator, groups: Sequence[Any], facts: Mapping[str, str], *, quiet: bool = False
    ) -> None:
        self.accelerator, self.groups, self.quiet = accelerator, groups, quiet
        self.settings = RunSettings(
            loop=_one(groups, LoopSettings),
            optimizer=_one(groups, OptimizerSettings),
            checkpoint=_one(groups, CheckpointSettings),
            record=_one(groups, RecordSettings),
        )
        self.folder = Path(self.settings.checkpoint.output_dir)
        self.checkpoints = Checkpoints(accelerator, self.settings.checkpoint)
        self.record = Record(accelerator, self.settings.record, str(self.folder), quiet=quiet)
        self.start = TrainerState(
            step=0,
            seconds=0.0,
            processes=accelerator.num_processes,
            # The launcher may set the precision too: what counts is what it came to.
            identity=_as_stored(as_dict(groups, "identity") | dict(facts) | {"precision": accelerator.mixed_precision}),
            schedule=_as_stored(as_dict(groups, "schedule")),
        )
        self.told: dict[str, Any] = {}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the folder's lock, on the main process, while the run writes to it."""
        with ExitStack() as held:
            on_main(self.accelerator, lambda: held.enter_context(one_writer(self.folder)))
            yield
        # Left by one process while another still speaks, a process group aborts at times.
        try:
            self.accelerator.wait_for_everyone()
        except RuntimeError:
            raise TrainingError(
                where="the end of the run",
                expected="all processes to come to it",
                found="one gone",
                do="see its message, and start the same command again",
            ) from None

    def result(self) -> list[str] | None:
        """The lines of the result in ``run.json``, if this same run has been finished in the folder.

        Raises:
            CheckpointError: another run has been finished there.
        """
        path, settings = self.folder / "run.json", self.settings.checkpoint
        run = json.loads(path.read_text()) if path.exists() else {}
        if settings.resume_from_checkpoint != "auto" or run.get("result") is None:
            return None
        stored = TrainerState(0, 0.0, 0, identity=run["identity"], schedule=run.get("schedule", {}))
        refuse_differences(stored, self.start, extend=settings.extend)
        result: list[str] = run["result"]
        return result if stored.schedule == self.start.schedule else None

    def tell(self, **lines: Any) -> None:
        """Print facts of the run, one a line, and keep them for ``run.json``."""
        self.told |= lines
        if self.quiet:
            return
        for name, text in lines.items():
            self.say(f"{name:<10} {text}")

    def say(self, text: str) -> None:
        if self.accelerator.is_main_process:
            print(text, flush=True)

    def train(
        self,
        objective: Objective,
        rows: Rows,
        order: Order,
        budget: Budget,
        *,
        tokens_per_row: int,
        evaluate: Callable[[nn.Module], dict[str, float]],
        on_saved: Sequence[Callable[[Path], None]] = (),
        enough: Callable[[int, Mapping[str, float]], bool] = lambda step, metrics: False,
    ) -> Outcome:
        """Train to the end, from wherever the folder stands, or until the run is asked to stop; see `Training`."""
        resumed = self._resume_point()
        on_main(self.accelerator, lambda: require_room(self.folder, state_bytes(objective)))
        training = self._training(objective, rows, order, budget, evaluate, on_saved, enough)
        if resumed is not None:
            training.resume(*resumed)
        self.tell(device=describe_device(self.accelerator), budget=f"{budget}, {self._where_it_starts(resumed)}")
        tokens_per_step = self.settings.loop.train_batch_size * tokens_per_row
        done = budget.progress(training.state.step, training.state.seconds)
        self.record.open(self.description(), step=training.state.step, done=done, tokens_per_step=tokens_per_step)
        outcome = training.run()
        if outcome.interruption:
            self.say(
                f"stopped after step {outcome.step:,} ({outcome.interruption}) and saved; "
                f"the same command goes on from there: {shlex.join(sys.argv)}"
            )
        return outcome

    def speed(self, objective: Objective, rows: Rows, order: Order, budget: Budget, *, tokens_per_row: int) -> float:
        """Tokens a second of training, from a few steps of which nothing but moved weights is left."""
        step = self.rehearsal(objective, rows, order, budget)

        def timed() -> int:
            step()
            return self.settings.loop.train_batch_size * tokens_per_row

        return tokens_per_second(timed)

    def rehearsal(self, objective: Objective, rows: Rows, order: Order, budget: Budget) -> Callable[[], None]:
        """What trains one step each time it is called, to be timed; the weights move, and nothing is written."""
        return self._training(objective, rows, order, budget, lambda module: {}).rehearse()

    def _training(
        self,
        objective: Objective,
        rows: Rows,
        order: Order,
        budget: Budget,
        evaluate: Callable[[nn.Module], dict[str, float]],
        on_saved: Sequence[Callable[[Path], None]] = (),
        enough: Callable[[int, Mapping[str, float]], bool] = lambda step, metrics: False,
    ) -> Training:
        return Training(
            self.accelerator,
            objective,
            rows,
            order,
            settings=self.settings.loop,
            optimizer_settings=self.settings.optimizer,
            budget=budget,
            start=self.start,
            checkpoints=self.checkpoints,
            record=self.record,
            evaluate=evaluate,
            on_saved=on_saved,
            enough=enough,
            save_last=not self.quiet,
        )

    def tell_plan(self, budget: Budget, training_bytes: int) -> None:
        """Print what would be run: all settings, the budget, and the memory it may take."""
        self.say("\n".join(f"  {name}: {value}" for name, value in as_dict(self.groups).items()))
        self.tell(budget=str(budget), memory=f"about {training_bytes / 1e9:.1f} GB a process", dry_run="stopped here")

    def finish(self, result: Sequence[str], metrics: Mapping[str, float]) -> None:
        """Write the lines of the result to ``run.json``, which makes the run a finished one, and print them."""
        description = self.description() | {"metrics": dict(metrics), "result": list(result)}
        self.record.write_run(description)
        if not self.quiet:
            self.say("\n".join(result))

    def description(self) -> dict[str, Any]:
        """What ``run.json`` tells before there is a result."""
        return {
            **environment(),
            "processes": self.accelerator.num_processes,
            "threads": torch.get_num_threads(),
            "settings": as_dict(self.groups),
            "identity": self.start.identity,
            "schedule": self.start.schedule,
            **self.told,
        }

    def _resume_point(self) -> tuple[Path, TrainerState] | None:
        """The checkpoint that the run goes on from; None where it begins.

        Raises:
            CheckpointError: the checkpoint is unusable or another run's, or a new start was asked for where
                checkpoints stand.
        """
        settings, newest = self.settings.checkpoint, self.checkpoints.latest()
        if settings.resume_from_checkpoint == "none" and newest is not None:
            raise CheckpointError(
                where=str(self.checkpoints.folder),
                expected="no checkpoints, since --resume_from_checkpoint none begins anew",
                found=newest.name,
                do="give another --output_dir, or remove the folder yourself",
            )
        named = settings.resume_from_checkpoint not in ("auto", "none")
        folder = Path(settings.resume_from_checkpoint) if named else newest
        if folder is None:
            return None
        stored = read_state(folder)
        refuse_differences(stored, self.start, extend=settings.extend)
        return folder, stored

    def _where_it_starts(self, resumed: tuple[Path, TrainerState] | None) -> str:
        if resumed is None:
            return "from the beginning"
        folder, stored = resumed
        here = self.accelerator.num_processes
        other = f" (written by {stored.processes} processes)" if stored.processes != here else ""
        return f"resumed from {folder.name}{other}"


def _one(groups: Sequence[Any], kind: type) -> Any:
    return next(group for group in groups if isinstance(group, kind))


def _as_stored(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back, so that it compares equal to what a checkpoint holds."""
    stored: dict[str, Any] = json.loads(json.dumps(settings))
    return stored
