"""The only training loop: any objective, any rows, any number of processes."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from hfrep.data.batches import Batch, Division, MicroBatches, batches_from
from hfrep.data.order import Order
from hfrep.data.rows import Rows
from hfrep.errors import ConfigError, TrainingError
from hfrep.objectives.base import Objective
from hfrep.settings import setting
from hfrep.training.allocator import keep_freed_memory
from hfrep.training.budget import Budget
from hfrep.training.checkpoint import Checkpoints, TrainerState
from hfrep.training.interruption import Interruption
from hfrep.training.optim import LearningRate, OptimizerSettings, build_optimizers, require_whole_matrices
from hfrep.training.record import Record
from hfrep.training.step import Gradient, Sums, mean_loss

ROWS_NAMED = 32  # rows that a message about a bad batch lists at most


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    train_batch_size: int = setting(16, "rows per optimizer step, over all processes")
    per_device_train_batch_size: int | None = setting(
        None, "rows of one forward pass of one process; default: all of its share", kind="operation"
    )
    gradient_accumulation_steps: int | None = setting(
        None, "refused: it follows from the two batch sizes", kind="operation"
    )
    dataloader_num_workers: int = setting(0, "processes that prepare batches, per training process", kind="operation")
    eval_steps: int | None = setting(None, "optimizer steps between evaluations; default: at the end", kind="operation")

    def __post_init__(self) -> None:
        if self.gradient_accumulation_steps is not None:
            rows = self.gradient_accumulation_steps * (self.per_device_train_batch_size or 8)
            raise ConfigError(
                where="gradient_accumulation_steps",
                expected="the global batch, which does not change with the number of processes",
                found=str(self.gradient_accumulation_steps),
                do=f"give --train_batch_size {rows} (times the number of processes), which says the same",
            )
        for name in ("train_batch_size", "per_device_train_batch_size", "eval_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(where=name, expected="1 or more", found=str(value), do="raise it")
        if self.dataloader_num_workers < 0:
            found = str(self.dataloader_num_workers)
            raise ConfigError(where="dataloader_num_workers", expected="0 or more", found=found, do="raise it")

    def division(self, accelerator: Accelerator) -> Division:
        ranks = accelerator.num_processes
        device_rows = self.per_device_train_batch_size or -(-self.train_batch_size // ranks)
        return Division(self.train_batch_size, device_rows, accelerator.process_index, ranks)


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        step: optimizer steps done.
        seconds: training time, over all resumed parts.
        interruption: why it stopped before its end; None where it reached it.
        exit_status: what the process should exit with.
        metrics: the last evaluation.
    """

    step: int
    seconds: float
    interruption: str | None
    exit_status: int
    metrics: Mapping[str, float]


class Training:
    """A run: made of its parts, continued from a checkpoint if there is one, and run to its end.

    Its end is that of the budget, or earlier, where `enough` says so of an evaluation after so many steps. There it is
    saved, unless `save_last` is false.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        objective: Objective,
        rows: Rows,
        order: Order,
        *,
        settings: LoopSettings,
        optimizer_settings: OptimizerSettings,
        budget: Budget,
        start: TrainerState,
        checkpoints: Checkpoints,
        record: Record,
        evaluate: Callable[[nn.Module], dict[str, float]],
        on_saved: Sequence[Callable[[Path], None]] = (),
        enough: Callable[[int, Mapping[str, float]], bool] = lambda step, metrics: False,
        save_last: bool = True,
    ) -> None:
        self.accelerator, self.objective, self.settings, self.budget = accelerator, objective, settings, budget
        self.checkpoints, self.record, self.state = checkpoints, record, start
        self.evaluate, self.on_saved, self.enough, self.ended = evaluate, on_saved, enough, False
        self.save_last = save_last
        division = settings.division(accelerator)
        if objective.batch_coupled and division.micro_batches > 1:
            raise ConfigError(
                where="per_device_train_batch_size",
                expected="the whole share of a process, since this objective couples the rows of a batch",
                found=f"{division.micro_batches} micro-batches a step",
                do="raise it, or lower --train_batch_size",
            )
        require_whole_matrices(optimizer_settings, accelerator)
        if accelerator.device.type == "cpu":
            keep_freed_memory()  # each step asks for what the last one freed
        total = None if budget.steps is None else budget.steps * settings.train_batch_size
        self.data = MicroBatches(rows, order, division, objective.collator(), total)
        module, *self.optimizers = accelerator.prepare(objective, *build_optimizers(objective, optimizer_settings))
        self.gradient = Gradient(accelerator, objective, module, optimizer_settings.max_grad_norm)
        self.learning_rate = LearningRate(self.optimizers, optimizer_settings, budget.steps)

    def resume(self, checkpoint: Path, stored: TrainerState) -> None:
        """Continue from `checkpoint`, which says `stored` of itself."""
        if self.budget.steps is not None and stored.step > self.budget.steps:
            raise ConfigError(
                where="the budget",
                expected=f"at least the {stored.step:,} steps that {checkpoint.name} has done",
                found=str(self.budget),
                do="give a longer one",
            )
        self.checkpoints.load(checkpoint)
        self.state = replace(self.state, step=stored.step, seconds=stored.seconds)
        for call in self.on_saved:  # again, since a kill may have come between the checkpoint and them
            call(checkpoint)

    @property
    def finished(self) -> bool:
        return self.ended or self.budget.finished(self.state.step, self.state.seconds)

    def run(self) -> Outcome:
        """Train until the budget is spent, or save and return early where the run is asked to stop.

        Raises:
            TrainingError: a loss or gradient that is not finite, or a checkpoint that could not be written.
        """
        metrics: dict[str, float] = {}
        evaluated = -1
        saved = self.state.step or -1
        stopping = False
        self.origin = time.monotonic() - self.state.seconds
        self._open_window()
        with Interruption() as interruption:
            if self._owes_an_evaluation():
                metrics, evaluated = self._evaluate(), self.state.step
            self.ended = self.ended or self.enough(self.state.step, {})
            batches = self._batches()
            while not (self.finished or stopping):
                stopping = self._step(next(batches), interruption.reason is not None)
                step = self.state.step
                if self.settings.eval_steps and step % self.settings.eval_steps == 0 and not stopping:
                    metrics, evaluated = self._evaluate(), step
                if step % self.checkpoints.save_steps == 0:
                    saved = self._save()
            if saved != self.state.step and (self.save_last or not self.finished):
                self._save()
            if self.finished and evaluated != self.state.step:
                metrics = self._evaluate()
            reason = None if self.finished else interruption.reason or "another process was asked to stop"
            status = interruption.exit_status if reason else 0
        self.record.close()
        return Outcome(self.state.step, self.state.seconds, reason, status, metrics)

    def rehearse(self) -> Callable[[], None]:
        """What takes a step as `run` does each time it is called, but keeps no record: to time it. The weights move."""
        batches = self._batches()
        self.gradient.module.train()
        self.learning_rate.set(0.5)

        def step() -> None:
            self.gradient.accumulate(next(batches), signals=[])
            self._move()

        return step

    def _batches(self) -> Iterator[list[Batch]]:
        pinned = self.accelerator.device.type == "cuda"
        return batches_from(self.data, self.state.step, self.settings.dataloader_num_workers, pinned)

    def _step(self, batches: list[Batch], stop: bool) -> bool:
        """One optimizer step; returns whether any process was asked to stop."""
        self.gradient.module.train()
        clock = time.monotonic() - self.origin if self.accelerator.is_main_process else 0.0
        sums = self.gradient.accumulate(batches, [float(stop), clock])
        stopping, seconds = sums.signals[0] > 0, sums.signals[1]  # the main process's clock is everybody's
        # With a gradient scaler (fp16) a gradient that overflows is its business: it skips the step and lowers itself.
        overflowed = not math.isfinite(sums.gradient_norm) and self.accelerator.scaler is None
        if overflowed or not all(map(math.isfinite, sums.totals.values())):
            raise self._not_finite(sums)
        # Asked at the middle of the step, the rate is neither 0 in the first step nor in the last.
        rate = self.learning_rate.set(self.budget.progress(self.state.step + 0.5, seconds))
        self._move()
        self.state = replace(self.state, step=self.state.step + 1, seconds=seconds)
        self._log(sums, rate)
        return stopping

    def _move(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.objective.after_step()

    def _log(self, sums: Sums, rate: float) -> None:
        """Record the mean loss since the last record, at every `logging_steps`-th step and at the end."""
        self.window.append(sums)
        if self.state.step % self.record.logging_steps and not self.finished:
            return
        self.record.step(
            self.state.step,
            self.budget.progress(self.state.step, self.state.seconds),
            seconds_per_step=(time.monotonic() - self.window_began) / len(self.window),
            loss=mean_loss(self.window, self.objective.weights),
            learning_rate=rate,
            gradient_norm=sums.gradient_norm,
        )
        self._open_window()

    def _open_window(self) -> None:
        self.window: list[Sums] = []
        self.window_began = time.monotonic()

    def _owes_an_evaluation(self) -> bool:
        """Whether the step that the run goes on from was due for one, which being asked to stop came before."""
        step, every = self.state.step, self.settings.eval_steps
        if not step or not every or step % every:
            return False
        done = any(
            record["step"] == step and any(name.startswith("eval_") for name in record)
            for record in self.record.metrics()
        )
        return not gather_object([done])[0]  # the main process's record is everybody's

    def _evaluate(self) -> dict[str, float]:
        began = time.monotonic()
        self.gradient.module.eval()
        metrics = self.evaluate(self.gradient.module)
        self.record.evaluation(self.state.step, metrics)
        self.ended = self.enough(self.state.step, metrics) or self.ended
        self.window_began += time.monotonic() - began  # the speed that is recorded is that of training
        return metrics

    def _save(self) -> int:
        began = time.monotonic()
        folder = self.checkpoints.save(self.state)
        for call in self.on_saved:
            call(folder)
        self.window_began += time.monotonic() - began
        return self.state.step

    def _not_finite(self, sums: Sums) -> TrainingError:
        division = self.data.division
        mine = [
            int(row)
            for micro in sums.suspects
            for row in self.data.addresses(division.positions(self.state.step, micro)).rows
        ]
        rows = ", ".join(map(str, gather_object(mine)[:ROWS_NAMED])) or "no single micro-batch: the gradient overflowed"
        last = self.checkpoints.latest()
        return TrainingError(
            where=f"step {self.state.step + 1}",
            expected="a finite loss and gradient",
            found=f"totals {sums.totals}, gradient norm {sums.gradient_norm} (training rows {rows})",
            do=f"lower --learning_rate or raise --warmup_steps; {last.name if last else 'no checkpoint'} is kept",
        )
