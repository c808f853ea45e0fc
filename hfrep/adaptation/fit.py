"""One training of a predictor: a run folder of its own, taken up again where it was left, and never done twice."""

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from accelerate import Accelerator
from accelerate.utils import DistributedType
from numpy.typing import NDArray
from torch import nn

from hfrep.adaptation.base import Adaptation, Adapted, Candidate, FineTuningSettings, Fit, Problem
from hfrep.adaptation.stopping import SCORE, EarlyStopping
from hfrep.data.examples import Examples
from hfrep.data.order import Ahead, GroupedByLength
from hfrep.data.rows import Rows
from hfrep.errors import ConfigError
from hfrep.evaluation.prediction import predict
from hfrep.models.features import module_hash
from hfrep.training.budget import Budget, BudgetSettings
from hfrep.training.checkpoint import CheckpointSettings
from hfrep.training.loop import LoopSettings
from hfrep.training.memory import PeakMemory
from hfrep.training.record import RecordSettings
from hfrep.training.run import Run

LOGITS, BEST = "logits.npz", "best.safetensors"


class RunInterruptedError(Exception):
    """The run was asked to stop, and saved."""

    def __init__(self, exit_status: int) -> None:
        super().__init__(exit_status)
        self.exit_status = exit_status


@dataclass(frozen=True)
class TrainingSettings:
    """What all trainings of a recipe have in common."""

    loop: LoopSettings
    budget: BudgetSettings
    fine_tuning: FineTuningSettings
    checkpoint: CheckpointSettings
    record: RecordSettings
    early_stopping_patience: int | None = None


class StopOn(NamedTuple):
    """Held-out examples, and the score of their logits [n, candidates, outputs]."""

    examples: Examples
    score: Callable[[NDArray[np.float32]], float]


@dataclass(frozen=True)
class Fitter:
    """Trains predictors.

    Attributes:
        accelerator: of this process; free of other models.
        settings: what all trainings have in common.
    """

    accelerator: Accelerator
    settings: TrainingSettings

    def __post_init__(self) -> None:
        checkpoint = self.settings.checkpoint
        if self.accelerator.distributed_type == DistributedType.FSDP:
            raise ConfigError(
                where="accelerate's configuration",
                expected="one process or data parallelism, for models that are adapted are small",
                found="FSDP",
                do="leave the sharding out",
            )
        for name, given, usual in (
            ("extend", checkpoint.extend, False),
            ("resume_from_checkpoint", checkpoint.resume_from_checkpoint, "auto"),
        ):
            if given != usual:
                raise ConfigError(
                    where=f"--{name}",
                    expected="none, since each of many trainings goes on where it was by itself",
                    found=str(given),
                    do="leave it out, or give another --output_dir to begin anew",
                )

    def fit(
        self,
        problem: Problem,
        adaptation: Adaptation,
        candidates: Sequence[Candidate],
        train: Examples,
        judged: Mapping[str, Examples],
        folder: Path,
        stop_on: StopOn | None = None,
        save: Callable[[Adapted, Fit], None] = lambda adapted, fit: None,
    ) -> Fit:
        """Train `candidates` side by side on `train` and let them predict the examples of `judged`.

        Where the same training was finished in `folder`, its predictions are read.

        Args:
            stop_on: examples whose score, the higher the better, decides when to stop early; None to train to the end.
            save: called on the main process with what was trained, before the training counts as finished.

        Raises:
            RunInterruptedError: the process was asked to stop.
        """
        adapted = adaptation.adapt(problem, train, candidates)
        run = self._run(problem, adaptation, adapted, candidates, train, judged, folder)
        with run.writing():
            if run.result() is not None:
                return _read(folder / LOGITS, adapted)
            try:
                fit = self._train(run, problem.seed, adapted, train, judged, stop_on)
            finally:
                self.accelerator.free_memory()
            if self.accelerator.is_main_process:
                save(adapted, fit)
                _write(folder / LOGITS, fit)
                run.finish(["finished"], {})
                shutil.rmtree(run.checkpoints.folder, ignore_errors=True)
                (folder / BEST).unlink(missing_ok=True)
        return fit

    def _train(
        self,
        run: Run,
        seed: int,
        adapted: Adapted,
        train: Examples,
        judged: Mapping[str, Examples],
        stop_on: StopOn | None,
    ) -> Fit:
        rows, order = adapted.rows(train), train.order(seed)
        budget, batch = self._budget(run, rows), self.settings.loop.train_batch_size
        mean_length = 1
        if rows.lengths is None:
            order = Ahead(order)  # on features a step is short, and asking for its rows would be much of it
        else:
            end = None if budget.steps is None else budget.steps * batch
            order = GroupedByLength(order, rows.lengths, batch, seed, end)
            mean_length = round(float(np.mean(rows.lengths)))
        evaluate, stopping = self._stopping(run, adapted, stop_on)
        with PeakMemory(self.accelerator.device) as memory:
            outcome = run.train(
                adapted.objective,
                rows,
                order,
                budget,
                tokens_per_row=mean_length,
                evaluate=evaluate,
                enough=stopping.enough if stopping else lambda step, metrics: False,
            )
        if outcome.interruption:
            raise RunInterruptedError(outcome.exit_status)
        if stopping:
            self.accelerator.wait_for_everyone()
            stopping.restore()
        logits = {
            name: predict(adapted.objective, adapted.rows(examples), self.accelerator)
            for name, examples in judged.items()
        }
        return Fit(logits, adapted.trained, adapted.parameters, outcome.seconds / 60, memory.bytes)

    def _stopping(
        self, run: Run, adapted: Adapted, stop_on: StopOn | None
    ) -> tuple[Callable[[nn.Module], dict[str, float]], EarlyStopping | None]:
        """What evaluates during training, and what ends it early; nothing where there is nothing to stop on."""
        patience, eval_steps = self.settings.early_stopping_patience, run.settings.loop.eval_steps
        if stop_on is None or patience is None or eval_steps is None:
            return lambda module: {}, None
        rows = adapted.rows(stop_on.examples)

        def evaluate(module: nn.Module) -> dict[str, float]:
            return {SCORE: stop_on.score(predict(adapted.objective, rows, self.accelerator))}

        return evaluate, EarlyStopping(
            adapted.objective,
            run.folder / BEST,
            run=json.dumps([run.start.identity, run.start.schedule]),
            patience=patience,
            eval_steps=eval_steps,
            writes=self.accelerator.is_main_process,
        )

    def _budget(self, run: Run, rows: Rows) -> Budget:
        budget = next(group for group in run.groups if isinstance(group, BudgetSettings))
        mean_length = 1 if rows.lengths is None else math.ceil(float(np.mean(rows.lengths)))
        return Budget.of(budget, rows=len(rows), batch_rows=self.settings.loop.train_batch_size, row_tokens=mean_length)

    def _run(
        self,
        problem: Problem,
        adaptation: Adaptation,
        adapted: Adapted,
        candidates: Sequence[Candidate],
        train: Examples,
        judged: Mapping[str, Examples],
        folder: Path,
    ) -> Run:
        settings = self.settings
        loop = settings.loop
        if settings.early_stopping_patience is not None and loop.eval_steps is None:
            loop = replace(loop, eval_steps=math.ceil(len(train) / loop.train_batch_size))
        groups: list[Any] = [
            loop,
            settings.budget.or_default(num_train_epochs=adaptation.epochs),
            settings.fine_tuning.at(adapted.base_rate),
            replace(settings.checkpoint, output_dir=str(folder)),
            settings.record,
        ]
        facts = {
            "task": problem.task.name,
            "candidates": "; ".join(map(str, candidates)),
            "seed": str(problem.seed),
            "weights": module_hash(adapted.objective),
            "train": f"{train.fingerprint} {train.targets_digest}",
            "judged": " ".join(f"{name} {part.fingerprint} {part.targets_digest}" for name, part in judged.items()),
            "labels": str(problem.task.labels),
            "dropout": str(problem.dropout),
            "features": str(problem.features),
            "adapter": f"{problem.adapters} {problem.adapters.digest}",
            "early_stopping": f"{settings.early_stopping_patience} {loop.eval_steps} {problem.task.metrics}",
        }
        return Run(self.accelerator, groups, facts, quiet=True)


def _write(file: Path, fit: Fit) -> None:
    cost = np.array([fit.minutes, -1 if fit.memory is None else fit.memory])
    arrays: dict[str, Any] = {f"logits_{name}": logits for name, logits in fit.logits.items()}
    np.savez(file, cost=cost, **arrays)


def _read(file: Path, adapted: Adapted) -> Fit:
    with np.load(file) as stored:
        logits = {name.removeprefix("logits_"): stored[name] for name in stored.files if name.startswith("logits_")}
        minutes, memory = stored["cost"]
    return Fit(logits, adapted.trained, adapted.parameters, float(minutes), None if memory < 0 else int(memory))
