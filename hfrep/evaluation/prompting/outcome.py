"""What came back when all items of a task were asked: run by run, and what is made of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hfrep.data.order import Integers
from hfrep.evaluation.prompting.answers import Answers
from hfrep.evaluation.prompting.calibration import Reliability, calibrated, reliability
from hfrep.evaluation.prompting.choices import ChoiceScores, log_probabilities, normalized, predictions
from hfrep.evaluation.prompting.encoding import Question
from hfrep.evaluation.prompting.rendering import Asked
from hfrep.evaluation.task_scores import Floats, Part, TaskScores
from hfrep.tasks.items import PromptData


@dataclass(frozen=True)
class Method:
    """What is made of the likelihoods of the choices."""

    normalization: str
    calibration: str

    def __str__(self) -> str:
        return self.normalization if self.calibration == "none" else f"{self.normalization}, {self.calibration}"


@dataclass(frozen=True, eq=False)
class Run:
    """The items asked once: with one template and one draw of demonstrations.

    Attributes:
        template: its number, from 1.
        asked: the items, with the demonstrations that were shown.
        shown: rows of the pool that these are.
        questions: the same as tokens.
        answers: log-likelihoods.
        texts: what was written instead; None where the answers are known.
        scores: of choices; None where there are none.
        content_free: the same for inputs without content; None where they were not asked.
        unconditioned: the choices without their items; none where they were not asked.
    """

    template: int
    seed: int
    asked: Sequence[Asked]
    shown: Sequence[Integers]
    questions: Sequence[Question]
    answers: Answers | None = None
    texts: Sequence[str] | None = None
    scores: ChoiceScores | None = None
    content_free: ChoiceScores | None = None
    unconditioned: Sequence[Asked] = ()

    def log_probabilities(self, method: Method) -> Floats:
        """Of the choices, float64 [n, c]."""
        assert self.scores is not None
        found = log_probabilities(normalized(self.scores, method.normalization))
        free = None if self.content_free is None else normalized(self.content_free, method.normalization)
        return calibrated(found, method.calibration, free)

    def predictions(self, method: Method) -> Integers:
        """Number of the choice, int64 [n]; or 1 where the answer is right, and 0."""
        if self.texts is not None:
            right = [text == asked.choices[0].strip() for text, asked in zip(self.texts, self.asked, strict=True)]
            return np.array(right, np.int64)
        if self.scores is None:
            assert self.answers is not None
            return self.answers.greedy[:, 0].astype(np.int64)
        return predictions(self.log_probabilities(method))


@dataclass(frozen=True, eq=False)
class Outcome:
    """All runs with one number of demonstrations.

    Attributes:
        runs: seeds within templates.
        references: what predictions are held against, int64 [n].
        dropped: demonstrations that did not fit, over all runs.
        cut: items whose beginning was cut off, over all runs.
    """

    model: str
    data: PromptData
    shots: int
    runs: Sequence[Run]
    references: Integers
    dropped: int
    cut: int

    @classmethod
    def of(cls, model: str, data: PromptData, shots: int, runs: Sequence[Run]) -> "Outcome":
        """What `runs` gave."""
        questions = [question for run in runs for question in run.questions]
        choices = data.prompt.scored == "choices"
        return cls(
            model=model,
            data=data,
            shots=shots,
            runs=runs,
            references=data.items.targets if choices else np.ones(len(data.items), np.int64),
            dropped=sum(question.dropped for question in questions),
            cut=sum(question.cut > 0 for question in questions),
        )

    def without_texts(self) -> "Outcome":
        """The same without what only `records` tells, which is most of it."""
        runs = [
            replace(run, asked=[Asked("", one.choices) for one in run.asked], shown=(), questions=())
            for run in self.runs
        ]
        return replace(self, runs=runs)

    def scores(self, method: Method, chosen: Integers | None = None) -> TaskScores:
        """What the model gets, on all items or on some, int64 [m]."""
        which = np.arange(len(self.references)) if chosen is None else chosen
        found = np.stack([run.predictions(method)[which] for run in self.runs])
        templates = len({run.template for run in self.runs})
        part = Part(found, self.references[which])
        return TaskScores(self.data.prompt.metrics, (part,), (templates, len(self.runs) // templates))

    def reliability(self, method: Method) -> Reliability | None:
        """How sure the model is and how right, over all runs; None where there are no choices."""
        if self.runs[0].scores is None:
            return None
        sure = np.exp(np.concatenate([run.log_probabilities(method) for run in self.runs]))
        return reliability(sure, np.tile(self.references, len(self.runs)), runs=len(self.runs))

    def records(self, methods: Sequence[Method]) -> Iterator[Mapping[str, Any]]:
        """What was asked and answered, item by item: enough for another tool to ask the same."""
        for run in self.runs:
            found = {str(method): run.predictions(method).tolist() for method in methods}
            for number, (asked, shown, question) in enumerate(zip(run.asked, run.shown, run.questions, strict=True)):
                record: dict[str, Any] = {
                    "model": self.model,
                    "task": self.data.prompt.name,
                    "shots": self.shots,
                    "template": run.template,
                    "seed": run.seed,
                    "id": int(self.data.items.ids[number]),
                    "demonstrations": self.data.pool.ids[shown].tolist(),
                    "dropped": question.dropped,
                    "cut": question.cut,
                    "prompt": asked.before,
                    "choices": asked.choices,
                    "after": asked.after,
                    "target": int(self.data.items.targets[number]),
                }
                if run.texts is not None:
                    record |= {"written": run.texts[number]}
                if run.answers is not None:
                    used = run.answers.tokens[number] > 0
                    record |= {
                        "nats": run.answers.nats[number][used].tolist(),
                        "tokens": run.answers.tokens[number][used].tolist(),
                        "greedy": run.answers.greedy[number][used].tolist(),
                    }
                if run.scores is not None and run.scores.unconditioned is not None:
                    record |= {
                        "unconditioned_prompt": run.unconditioned[number].before,
                        "unconditioned": run.scores.unconditioned[number][used].tolist(),
                    }
                yield record | {"prediction": {name: numbers[number] for name, numbers in found.items()}}
