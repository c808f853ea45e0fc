"""A task under a protocol: learning rates chosen on a held-out part of its training split, then a training per seed.

The splits that are reported are read by the final trainings alone, which predict them once, at their end.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hfrep.adaptation import ADAPTATIONS
from hfrep.adaptation.base import Adapted, Candidate, CardFacts, Fit, Problem
from hfrep.adaptation.fit import Fitter, StopOn
from hfrep.card import Evaluation
from hfrep.card.private import without_paths
from hfrep.data.examples import Examples, encode
from hfrep.errors import ConfigError
from hfrep.evaluation.results import Cell
from hfrep.evaluation.task_scores import Part, TaskScores
from hfrep.settings import setting
from hfrep.tasks.base import Split, Targets, Task, TaskData
from hfrep.tasks.reading import held_out, majority
from hfrep.tasks.submission import submission_file
from hfrep.training.launch import describe_device


@dataclass(frozen=True, kw_only=True)
class ProtocolSettings:
    adaptation: list[str] = setting(["full", "frozen", "lora"], f"which of {', '.join(ADAPTATIONS)}")
    seeds: list[int] = setting([0], "a training for each: new weights, order of rows and dropout", aliases=("seed",))
    learning_rates: list[float] | None = setting(
        None,
        "peak learning rates to choose from on a held-out part of the training split; default: of the adaptation",
        aliases=("learning_rate",),
    )
    held_out_share: float = setting(0.1, "share of the training split that learning rates are chosen on")
    early_stopping_patience: int | None = setting(
        None,
        "stop a training after so many evaluations (every --eval_steps) without a better score on the held-out part of "
        "the training split, and keep the best weights; default: train to the end, on the whole split",
    )
    predict_test: bool = setting(
        False,
        "predict the test splits too, with the first seed, and write the files that the GLUE server takes",
        kind="operation",
    )
    random_initialization: bool = setting(True, "adapt the same shape with random weights too", kind="operation")

    @property
    def rows(self) -> "list[Row]":
        """Pretrained weights first, then random ones."""
        weights = [False, True] if self.random_initialization else [False]
        return [Row(name, random_weights) for random_weights in weights for name in self.adaptation]

    def __post_init__(self) -> None:
        for name in self.adaptation:
            if name not in ADAPTATIONS:
                known = ", ".join(ADAPTATIONS)
                raise ConfigError(where="--adaptation", expected=known, found=name, do="give one or more of these")
        for name, values in (("adaptation", self.adaptation), ("seeds", self.seeds)):
            if not values or len(set(values)) < len(values):
                found = " ".join(map(str, values)) or "none"
                raise ConfigError(where=f"--{name}", expected="one or more, each once", found=found, do="correct it")
        if self.learning_rates is not None and not (self.learning_rates and min(self.learning_rates) > 0):
            found = " ".join(map(str, self.learning_rates)) or "none"
            raise ConfigError(where="--learning_rates", expected="numbers above 0", found=found, do="correct them")
        if self.early_stopping_patience is not None and self.early_stopping_patience < 1:
            found = str(self.early_stopping_patience)
            raise ConfigError(where="--early_stopping_patience", expected="1 or more", found=found, do="raise it")
        if not 0 < self.held_out_share < 1:
            found = str(self.held_out_share)
            raise ConfigError(where="--held_out_share", expected="between 0 and 1", found=found, do="give 0.1")


@dataclass(frozen=True)
class Row:
    """A row of the table of results: an adaptation of the pretrained weights, or of random ones."""

    adaptation: str
    random_weights: bool

    def __str__(self) -> str:
        return f"{self.adaptation}, random weights" if self.random_weights else self.adaptation

    @property
    def folder(self) -> str:
        return f"{self.adaptation}-random" if self.random_weights else self.adaptation


@dataclass(frozen=True)
class Judged:
    """What came out of a row for a task.

    Attributes:
        cell: the scores of the candidate that was chosen.
        layers: for each layer that was looked at, its scores.
        tests: what the first seed predicts for each test split that was read: label numbers or values [n].
    """

    cell: Cell
    layers: Mapping[int, TaskScores]
    tests: Mapping[str, Targets]


class TaskStudy:
    """A task, tokenized, and what is measured on it.

    Args:
        problem: the model and what all rows have in common.
        length: tokens that an example may have.
        folder: the recipe's; the task has a folder in it.
    """

    def __init__(
        self,
        data: TaskData,
        problem: Problem,
        fitter: Fitter,
        protocol: ProtocolSettings,
        *,
        length: int,
        folder: Path,
    ) -> None:
        self.data, self.problem, self.fitter, self.protocol = data, problem, fitter, protocol
        self.folder, self.length = folder / data.task.name, length
        self.train = self._encoded(data.splits["train"])
        self.rest, self.held = map(self.train.part, held_out(len(self.train), protocol.held_out_share, 0))
        self.tests = [name for name in data.splits if name not in ("train", *data.task.reported)]
        for name in self.tests:  # refused now, not after all trainings
            submission_file(data.task, name)

    def _encoded(self, split: Split) -> Examples:
        return encode(self.problem.tokenizer, split.texts, split.targets, max_length=self.length)

    @cached_property
    def judged(self) -> dict[str, Examples]:
        """The splits that are predicted, not read before the first training that predicts them."""
        return {name: self._encoded(self.data.splits[name]) for name in (*self.data.task.reported, *self.tests)}

    @property
    def trained_on(self) -> Examples:
        """What the final trainings take: the whole training split, or what early stopping leaves of it."""
        return self.train if self._stop_on is None else self.rest

    def try_out(self) -> None:
        """Make a predictor of each adaptation, so that settings that do not fit are told before the first training."""
        for name in self.protocol.adaptation:
            problem = self._problem(Row(name, random_weights=False), self.protocol.seeds[0])
            rates = self.protocol.learning_rates or ADAPTATIONS[name].learning_rates
            ADAPTATIONS[name].adapt(problem, self.trained_on, ADAPTATIONS[name].groups(problem, rates)[0])

    def judge(self, row: Row) -> Judged:
        """Choose, train once for each seed, and score what the reported splits are predicted to be."""
        candidates, chosen = self._choose(row)
        fits = [self._final(row, seed, candidates, chosen) for seed in self.protocol.seeds]
        memory = [fit.memory for fit in fits if fit.memory is not None]
        cell = Cell(
            task=self.data.task.title,
            row=str(row),
            scores=self.scores([fit.logits for fit in fits], chosen),
            trained=fits[0].trained,
            parameters=fits[0].parameters,
            minutes=float(np.mean([fit.minutes for fit in fits])),
            memory=max(memory, default=None),
            note=str(candidates[chosen]),
        )
        layers = {
            candidate.layer: self.scores([fit.logits for fit in fits], number)
            for number, candidate in enumerate(candidates)
            if candidate.layer is not None
        }
        tests = {name: predicted(fits[0].logits[name][:, chosen], self.data.task) for name in self.tests}
        return Judged(cell, layers, tests)

    def majority(self) -> Judged:
        """What the most frequent label, or the mean value, of the training split scores."""
        train = self.data.splits["train"]
        parts = tuple(
            Part(majority(train, self.data.splits[name], self.data.task)[None], self._targets(name))
            for name in self.data.task.reported
        )
        scores = TaskScores(self.data.task.metrics, parts)
        cell = Cell(self.data.task.title, "majority", scores, trained=0, parameters=0, minutes=0.0, memory=None)
        return Judged(cell, {}, {})

    def __str__(self) -> str:
        """Name and sizes."""
        splits = ("train", *self.data.task.reported, *self.tests)
        sizes = ", ".join(f"{name} {len(self.data.splits[name]):,}" for name in splits)
        number = self.train.truncated.sum()
        cut = f"{number:,} training texts cut to {self.length} tokens" if number else ""
        return "; ".join([f"{self.data.task.title}: {sizes}", *self.data.notes, *filter(None, [cut])])

    def _choose(self, row: Row) -> tuple[list[Candidate], int]:
        """The best candidate of each layer by the held-out part, and which of them is the best."""
        adaptation, problem = ADAPTATIONS[row.adaptation], self._problem(row, self.protocol.seeds[0])
        rates = self.protocol.learning_rates or adaptation.learning_rates
        groups = adaptation.groups(problem, rates)
        if sum(map(len, groups)) == 1:
            return list(groups[0]), 0
        best: dict[int | None, tuple[float, Candidate]] = {}
        for number, group in enumerate(groups):
            folder = self.folder / row.folder / "search" / str(number)
            fit = self.fitter.fit(problem, adaptation, group, self.rest, {"held_out": self.held}, folder, self._stop_on)
            for place, candidate in enumerate(group):
                score = self.held_out_score(fit.logits["held_out"][:, place])
                if candidate.layer not in best or score > best[candidate.layer][0]:
                    best[candidate.layer] = score, candidate
        found = list(best.values())
        return [candidate for _, candidate in found], int(np.argmax([score for score, _ in found]))

    def held_out_score(self, logits: NDArray[np.float32]) -> float:
        """Of the logits [n, outputs] of one candidate."""
        part = Part(predicted(logits[None], self.data.task), self.held.targets)
        return TaskScores(self.data.task.metrics, (part,)).mean

    @property
    def _stop_on(self) -> StopOn | None:
        if self.protocol.early_stopping_patience is None:
            return None

        def score(logits: NDArray[np.float32]) -> float:
            return max(self.held_out_score(logits[:, number]) for number in range(logits.shape[1]))

        return StopOn(self.held, score)

    def _final(self, row: Row, seed: int, candidates: Sequence[Candidate], chosen: int) -> Fit:
        adaptation, problem = ADAPTATIONS[row.adaptation], self._problem(row, seed)
        folder = self.folder / row.folder / f"seed-{seed}"

        def save(adapted: Adapted, fit: Fit) -> None:
            if not row.random_weights:
                facts = self.card_facts(seed, candidates[chosen], fit, self.scores([fit.logits], chosen))
                adapted.save(folder / adaptation.folder, chosen, facts).write()

        train, stop_on = self.trained_on, self._stop_on
        return self.fitter.fit(problem, adaptation, candidates, train, self.judged, folder, stop_on, save)

    def _problem(self, row: Row, seed: int) -> Problem:
        return dataclasses.replace(self.problem, random_weights=row.random_weights, seed=seed)

    def scores(self, logits: Sequence[Mapping[str, NDArray[np.float32]]], number: int) -> TaskScores:
        """The scores of candidate `number`, given the logits of each seed by split."""
        task = self.data.task
        parts = tuple(
            Part(predicted(np.stack([one[name][:, number] for one in logits]), task), self._targets(name))
            for name in task.reported
        )
        return TaskScores(task.metrics, parts)

    def _targets(self, name: str) -> Targets:
        targets = self.data.splits[name].targets
        assert targets is not None, "reported splits have targets"
        return targets

    def card_facts(self, seed: int, candidate: Candidate, fit: Fit, scores: TaskScores) -> CardFacts:
        """What the card of one training tells; `scores` are its own."""
        first = self.data.task.reported[0]
        training = {
            "task": self.data.task.title,
            "training examples": len(self.trained_on),
            "tokens of an example": f"at most {self.length}",
            "trained parameters": f"{fit.trained:,} of {fit.parameters:,}",
            "chosen": str(candidate),
            "minutes": fit.minutes,
            "hardware": describe_device(self.fitter.accelerator),
            "seed": seed,
        }
        text = [column[0] for column in self.data.splits[first].texts]
        dataset = None if self.data.dataset is None else self.data.dataset.partition(":")[0]
        return CardFacts(training, [*self._evaluations(scores)], dataset, self.judged[first], text)

    def _evaluations(self, scores: TaskScores) -> Iterator[Evaluation]:
        """Of each reported split, the mean of each metric over the seeds of `scores`."""
        task = self.data.task
        notes = without_paths("".join(f"; {note}" for note in self.data.notes))
        for split, by_metric in zip(task.reported, scores.by_part.mean(axis=1).tolist(), strict=True):
            yield Evaluation(
                data=task.title,
                scores=dict(zip(task.metrics, by_metric, strict=True)),
                how=f"{len(self.data.splits[split]):,} examples, predicted once, at the end of the training{notes}",
                dataset=self.data.dataset,
                split=split,
            )


def predicted(logits: NDArray[np.float32], task: Task) -> Targets:
    """The labels, or values, that `logits` [..., outputs] come to: [...]."""
    if task.labels is None:
        values: NDArray[np.float32] = logits[..., 0]
        return values
    labels: NDArray[np.int64] = logits.argmax(-1)
    return labels
