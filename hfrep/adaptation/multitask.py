"""All weights are trained on several tasks at once: one body, and a head for each task; saved is a model for each.

The task of a training example is drawn by the size of the tasks' training splits to a power, as Stickland and Murray
2019, "BERT and PALs", draw that of a batch: with 1 the large tasks drown the small ones, with 0 the small ones are
repeated most. Their root is the default here; they find an exponent that falls during training better still. The
protocol is that of `hfrep.adaptation.study`; learning rates are chosen by the mean of the held-out scores.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hfrep.adaptation.base import Adaptation, Adapted, Candidate, CardFacts, Fit, Problem, one_by_one
from hfrep.adaptation.fit import StopOn
from hfrep.adaptation.full import FULL
from hfrep.adaptation.saved import CLASS_USAGE, adapted_card, open_body, probed, sizes
from hfrep.adaptation.study import Judged, Row, TaskStudy, predicted
from hfrep.data.examples import Examples
from hfrep.data.order import PERIOD
from hfrep.data.task_examples import TaskExamples, laid_together
from hfrep.errors import ConfigError
from hfrep.evaluation.results import Cell
from hfrep.export import Reopening, export
from hfrep.objectives.multitask import Multitask
from hfrep.settings import setting
from hfrep.tasks.base import Task

NAME, FULL_NAME = "multitask", "full"


@dataclass(frozen=True, kw_only=True)
class MultitaskSettings:
    multitask: bool = setting(
        False, "train one model on all tasks at once too, with a head for each: a row beside --adaptation full"
    )
    multitask_power: float = setting(
        0.5,
        "multitask: tasks are drawn by the size of their training split to this power; 1 takes all examples alike, 0 "
        "all tasks",
    )

    def __post_init__(self) -> None:
        if not 0 <= self.multitask_power <= 1:
            found = f"{self.multitask_power:g}"
            raise ConfigError(where="--multitask_power", expected="a number from 0 to 1", found=found, do="give 0.5")


class MultitaskStudy:
    """Tasks that are trained on together, and what is measured on each.

    Args:
        studies: the tasks, of one model, fitter and protocol.
        power: see `MultitaskSettings`.
        folder: the recipe's. The trainings have folders in it; models are saved in those of their tasks.

    Raises:
        ConfigError: there are not two tasks, all weights are not to be trained, or a task would be drawn hardly ever.
    """

    def __init__(self, studies: Sequence[TaskStudy], power: float, folder: Path) -> None:
        self.studies, self.power, self.folder = studies, power, folder
        self.tasks = [study.data.task for study in studies]
        self.fitter, self.protocol = studies[0].fitter, studies[0].protocol
        self._require_what_can_be_shared()
        self.weights = drawing_weights({study.data.task.name: len(study.train) for study in studies}, power)
        self.adaptation = _adaptation(self.tasks)

    @property
    def rows(self) -> list[Row]:
        """Pretrained weights first, then random ones, as of the protocol."""
        return [
            Row(NAME, random_weights) for random_weights in sorted({row.random_weights for row in self.protocol.rows})
        ]

    @cached_property
    def train(self) -> TaskExamples:
        return self._together([study.train for study in self.studies])

    @cached_property
    def rest(self) -> TaskExamples:
        return self._together([study.rest for study in self.studies])

    @cached_property
    def held(self) -> TaskExamples:
        return self._together([study.held for study in self.studies])

    @cached_property
    def judged(self) -> dict[str, TaskExamples]:
        """The splits that are predicted, not read before the first training that predicts them."""
        return {
            _named(study, name): laid_together({number: examples})
            for number, study in enumerate(self.studies)
            for name, examples in study.judged.items()
        }

    def judge(self, row: Row) -> list[Judged]:
        """Choose, train once for each seed, and score what is predicted for each task, in their order."""
        candidate = self._choose(row)
        fits = [self._final(row, seed, candidate) for seed in self.protocol.seeds]
        return [self._judged(study, row, candidate, fits) for study in self.studies]

    def _require_what_can_be_shared(self) -> None:
        if len(self.tasks) < 2:
            found = self.tasks[0].name
            raise ConfigError(where="--multitask", expected="two tasks or more", found=found, do="name more in --task")
        if FULL_NAME not in self.protocol.adaptation:
            raise ConfigError(
                where="--multitask",
                expected=f"{FULL_NAME} among --adaptation, since all weights are trained",
                found=" ".join(self.protocol.adaptation),
                do=f"add {FULL_NAME}, or leave --multitask out",
            )

    def _together(self, parts: Sequence[Examples]) -> TaskExamples:
        return laid_together(dict(enumerate(parts)), self.weights)

    def _choose(self, row: Row) -> Candidate:
        """The best candidate by the held-out parts."""
        problem = self._problem(row, self.protocol.seeds[0])
        rates = self.protocol.learning_rates or self.adaptation.learning_rates
        groups = self.adaptation.groups(problem, rates)
        if len(groups) == 1:
            return groups[0][0]
        scores = []
        for number, group in enumerate(groups):
            folder, judged = self.folder / row.folder / "search" / str(number), {"held_out": self.held}
            fit = self.fitter.fit(problem, self.adaptation, group, self.rest, judged, folder, self._stop_on)
            scores.append(self._held_out_score(fit.logits["held_out"]))
        return groups[int(np.argmax(scores))][0]

    def _held_out_score(self, logits: NDArray[np.float32]) -> float:
        """The mean over tasks, of logits [n, 1, outputs] for the held-out parts."""
        scores = [
            study.held_out_score(logits[self.held.tasks == number, 0, : study.data.task.outputs])
            for number, study in enumerate(self.studies)
        ]
        return float(np.mean(scores))

    @property
    def _stop_on(self) -> StopOn | None:
        if self.protocol.early_stopping_patience is None:
            return None
        return StopOn(self.held, self._held_out_score)

    def _final(self, row: Row, seed: int, candidate: Candidate) -> Fit:
        def save(adapted: Adapted, fit: Fit) -> None:
            if row.random_weights:
                return
            for number, study in enumerate(self.studies):
                folder = study.folder / row.folder / f"seed-{seed}" / self.adaptation.folder
                adapted.save(folder, number, self._card_facts(study, seed, candidate, fit)).write()

        train = self.train if self._stop_on is None else self.rest
        folder = self.folder / row.folder / f"seed-{seed}"
        problem = self._problem(row, seed)
        return self.fitter.fit(problem, self.adaptation, [candidate], train, self.judged, folder, self._stop_on, save)

    def _problem(self, row: Row, seed: int) -> Problem:
        """Its task stands for all of them where the training says what it is."""
        name, title = "+".join(task.name for task in self.tasks), self._titles(self.tasks)
        together = Task(name=name, title=title, text_columns=(), labels=None, metrics=(), reported=())
        return dataclasses.replace(self.studies[0].problem, task=together, random_weights=row.random_weights, seed=seed)

    def _judged(self, study: TaskStudy, row: Row, candidate: Candidate, fits: Sequence[Fit]) -> Judged:
        task, memory = study.data.task, [fit.memory for fit in fits if fit.memory is not None]
        logits = [_logits(study, fit) for fit in fits]
        cell = Cell(
            task=task.title,
            row=str(row),
            scores=study.scores(logits, 0),
            trained=fits[0].trained,
            parameters=fits[0].parameters,
            minutes=float(np.mean([fit.minutes for fit in fits])),
            memory=max(memory, default=None),
            note=f"{candidate}, one training for {len(self.tasks)} tasks by size^{self.power:g}",
        )
        return Judged(cell, {}, {name: predicted(logits[0][name][:, 0], task) for name in study.tests})

    def _card_facts(self, study: TaskStudy, seed: int, candidate: Candidate, fit: Fit) -> CardFacts:
        facts = study.card_facts(seed, candidate, fit, study.scores([_logits(study, fit)], 0))
        others = self._titles([task for task in self.tasks if task is not study.data.task])
        return dataclasses.replace(facts, training={**facts.training, "trained together with": others})

    def _titles(self, tasks: Sequence[Task]) -> str:
        return ", ".join(task.title for task in tasks)


def drawing_weights(sizes: Mapping[str, int], power: float) -> tuple[float, ...]:
    """How often each task is drawn, given its name and examples: shares that sum to 1.

    Raises:
        ConfigError: a share is below what mixing can give.
    """
    raised = np.array(list(sizes.values()), np.float64) ** power
    shares = raised / raised.sum()
    least = int(shares.argmin())
    if shares[least] * PERIOD < 1:
        raise ConfigError(
            where=f"--multitask_power {power:g}",
            expected=f"a share of at least 1/{PERIOD} for each task",
            found=f"1/{1 / shares[least]:,.0f} for {list(sizes)[least]}",
            do="lower it, or leave the task out",
        )
    return tuple(shares.tolist())


def _adaptation(tasks: Sequence[Task]) -> Adaptation:
    """Full fine-tuning on all `tasks`, whose training examples are `TaskExamples` with their numbers."""

    def adapt(problem: Problem, train: Examples, candidates: Sequence[Candidate]) -> Adapted:
        (candidate,) = candidates
        torch.manual_seed(problem.seed)
        problems = [dataclasses.replace(problem, task=task) for task in tasks]
        # One after the other, since each has a body that is dropped.
        models = (open_body(one).model for one in problems)
        objective = Multitask(models, regressions=[task.labels is None for task in tasks])

        def save(folder: Path, number: int, facts: CardFacts) -> Reopening:
            card = adapted_card(problems[number], NAME, [CLASS_USAGE], facts)
            predictor = objective.tasks[number]
            export(predictor.kept, problem.tokenizer, folder, card)
            return probed(folder, card, predictor, problem.tokenizer, facts)

        trained, whole = sizes(objective)
        return Adapted(objective, lambda examples: examples, candidate.learning_rate, trained, whole, save)

    return Adaptation(adapt, one_by_one, FULL.learning_rates, FULL.epochs, FULL.folder)


def _named(study: TaskStudy, split: str) -> str:
    """How predictions of a task's split are called among those of all tasks."""
    return f"{study.data.task.name} {split}"


def _logits(study: TaskStudy, fit: Fit) -> dict[str, NDArray[np.float32]]:
    """Of the task's splits, each [n, 1, its outputs]."""
    return {name: fit.logits[_named(study, name)][..., : study.data.task.outputs] for name in study.judged}
