"""One task put to one model: for each number of demonstrations, all templates and seeds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hfrep.data.order import Integers
from hfrep.errors import ConfigError
from hfrep.evaluation.prompting.answers import Answers
from hfrep.evaluation.prompting.asker import Asker
from hfrep.evaluation.prompting.calibration import Reliability, calibrated, reliability
from hfrep.evaluation.prompting.choices import ChoiceScores, log_probabilities, normalized, predictions
from hfrep.evaluation.prompting.demonstrations import Chooser
from hfrep.evaluation.prompting.encoding import Question
from hfrep.evaluation.prompting.fitting import fitted
from hfrep.evaluation.prompting.rendering import Asked, ask, content_free, right_choice, unconditioned
from hfrep.evaluation.prompting.settings import PromptingSettings
from hfrep.evaluation.task_scores import Floats, Part, TaskScores
from hfrep.tasks.items import Items, PromptData
from hfrep.tasks.prompt import Template


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
    """

    template: int
    seed: int
    asked: Sequence[Asked]
    shown: Sequence[Integers]
    questions: Sequence[Question]
    answers: Answers | None
    texts: Sequence[str] | None = None
    scores: ChoiceScores | None = None
    content_free: ChoiceScores | None = None

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
class Asking:
    """All runs with one number of demonstrations.

    Attributes:
        runs: seeds within templates.
    """

    model: str
    data: PromptData
    shots: int
    runs: Sequence[Run]
    references: Integers

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

    @property
    def dropped(self) -> int:
        """Demonstrations that did not fit, over all runs."""
        return sum(question.dropped for run in self.runs for question in run.questions)

    @property
    def cut(self) -> int:
        """Items whose beginning was cut off, over all runs."""
        return sum(question.cut > 0 for run in self.runs for question in run.questions)

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
                    record |= {"unconditioned": run.scores.unconditioned[number][used].tolist()}
                yield record | {"prediction": {name: numbers[number] for name, numbers in found.items()}}


class PromptStudy:
    """Asks one model all that settings say of one task.

    Raises:
        ConfigError: the task and a setting do not go together, or the task and the model.
        DataError: a row of the task lacks what its prompt wants.
    """

    def __init__(self, asker: Asker, data: PromptData, settings: PromptingSettings) -> None:
        asker.require(data.prompt)
        self.asker, self.data, self._settings = asker, data, settings
        self.templates = self._chosen(data.prompt.of(masked=asker.encoder.masked))
        self._require_classes()
        self._asked = {number: self._items(template) for number, template in self.templates.items()}
        self._without_items: dict[int, Answers] = {}

    @cached_property
    def methods(self) -> list[Method]:
        """What is made of the answers; one that changes nothing where they are not chosen."""
        if self.data.prompt.scored != "choices":
            return [Method("exact", "none")]
        settings = self._settings
        return [Method(one, other) for one in settings.normalization for other in settings.calibration]

    @property
    def references(self) -> Integers:
        """What predictions are held against, int64 [n]."""
        items = self.data.items
        return items.targets if self.data.prompt.scored == "choices" else np.ones(len(items), np.int64)

    def guesses(self) -> Mapping[str, float]:
        """The scores of who draws one of the choices, and of who always says the class that is most shown.

        Chance is that of the metric's expected counts. Where there are no choices there is nothing to guess.
        """
        prompt, references = self.data.prompt, self.references
        if prompt.scored != "choices":
            return {}
        right = float(np.mean([1 / len(one.choices) for one in next(iter(self._asked.values()))]))
        positive = float(np.mean(references == 1))
        chances = {"accuracy": right, "f1": positive / (positive + 0.5), "matthews": 0.0}
        found = {"chance": float(np.mean([chances[name] for name in prompt.metrics]))}
        if prompt.labels is not None:
            common = np.bincount(self.data.pool.targets).argmax()
            part = Part(np.full((1, len(references)), common), references)
            found["majority class"] = TaskScores(prompt.metrics, (part,)).mean
        return found

    def protocol(self) -> str:
        """How the scores come about, in a line."""
        prompt, settings = self.data.prompt, self._settings
        shots = ", ".join(map(str, settings.shots))
        numbers = ", ".join(map(str, self.templates))
        drawn = f"{settings.demonstrations}, seeds {', '.join(map(str, settings.seeds))}"
        if settings.demonstrations == "first":
            drawn = "the first ones"
        if max(settings.shots) == 0:
            drawn = "none"
        scored = {
            "choices": f"choices by {self._likelihood()}: {'; '.join(map(str, self.methods))}",
            "greedy": "right where greedy decoding would write the answer",
            "generated": "right where greedy decoding writes the answer and nothing else before a stop string",
        }
        return (
            f"{prompt.title} for {self.asker.name}: prompt {prompt.name} "
            f"{prompt.hash([*self.templates.values()])}, templates {numbers}; {shots} shots ({drawn}); "
            f"{scored[prompt.scored]}; metrics {', '.join(prompt.metrics)}; {prompt.reported}, "
            f"n = {len(self.data.items):,}, data {self.data.fingerprint[:8]}"
        )

    def __str__(self) -> str:
        pool = "the others of them" if self.data.asked_from_pool else f"{len(self.data.pool):,} rows"
        return (
            f"{self.data.prompt.title} for {self.asker.name}: {len(self.data.items):,} items, {len(self.templates)} "
            f"templates; demonstrations from {pool}"
        )

    def texts(self) -> list[str]:
        """The items' own texts, without what the prompt adds."""
        names = sorted(self.data.prompt.names)
        return ["\n".join(_texts_of(row.get(name)) for name in names) for row in self.data.items.rows]

    def ask(self, shots: int) -> Asking:
        """Ask all items with so many demonstrations."""
        runs = [
            self._run(number, template, shots, seed)
            for number, template in self.templates.items()
            for seed in self._settings.draws(shots)
        ]
        return Asking(self.asker.name, self.data, shots, runs, self.references)

    def _likelihood(self) -> str:
        if not self.asker.encoder.masked:
            return "log-likelihood"
        together = self._settings.masked_scoring == "mask"
        return "log-probability at the masks" if together else "pseudo-log-likelihood"

    def _run(self, number: int, template: Template, shots: int, seed: int) -> Run:
        prompt = self.data.prompt
        asked = self._asked[number]
        read = _Reader(self.data, template)
        choose = Chooser(
            self.data, self._settings.demonstrations, [one.before for one in asked], read.item, self.asker.embed
        )
        shown = choose(shots, seed)
        rows = sorted({row for rows in shown for row in rows.tolist()})
        texts = {row: read.whole(row) for row in rows}
        places = {row: place for place, row in enumerate(rows)}
        numbers = [np.array([places[row] for row in rows.tolist()], np.int64) for rows in shown]
        encoder = self.asker.encoder
        if prompt.scored == "generated":
            encoder = encoder.with_room_for(prompt.max_new_tokens)
        questions = fitted(encoder, prompt, asked, numbers, [*texts.values()], self._settings.long_items)
        whole = [
            one.behind([texts[row] for row in rows.tolist()[question.dropped :]], prompt)
            for one, rows, question in zip(asked, shown, questions, strict=True)
        ]
        if prompt.scored == "generated":
            return Run(number, seed, whole, shown, questions, None, self.asker.write(questions, prompt))
        answers = self.asker(questions)
        if prompt.scored == "greedy":
            return Run(number, seed, whole, shown, questions, answers)
        free = None
        if "contextual" in self._settings.calibration:
            order = Chooser(self.data, self._settings.demonstrations, [""], read.item, self.asker.embed)(shots, seed)[0]
            free = self._content_free(template, [read.whole(row) for row in order.tolist()], number)
        scores = _scores(asked, answers, self._unconditioned(number))
        return Run(number, seed, whole, shown, questions, answers, None, scores, free)

    def _content_free(self, template: Template, texts: Sequence[str], number: int) -> ChoiceScores:
        """The choices after inputs without content, behind the demonstrations `texts`."""
        prompt = self.data.prompt
        asked = [ask(prompt, template, row) for row in content_free(prompt, self.data.items.rows[0])]
        shown = [np.arange(len(texts))] * len(asked)
        answers = self.asker(fitted(self.asker.encoder, prompt, asked, shown, texts, self._settings.long_items))
        without = None
        if (known := self._unconditioned(number)) is not None:
            without = np.repeat(known.nats[:1], len(asked), axis=0)
        return _scores(asked, answers, None, without)

    def _unconditioned(self, number: int) -> Answers | None:
        """The choices without items, asked once for each template."""
        if "pmi" not in self._settings.normalization:
            return None
        if number not in self._without_items:
            prompt = self.data.prompt
            rows = zip(self.data.items.rows, self._asked[number], strict=True)
            asked = [unconditioned(prompt, self.templates[number], row, one) for row, one in rows]
            nothing = [np.zeros(0, np.int64)] * len(asked)
            self._without_items[number] = self.asker(
                fitted(self.asker.encoder, prompt, asked, nothing, [], self._settings.long_items)
            )
        return self._without_items[number]

    def _items(self, template: Template) -> list[Asked]:
        prompt, items = self.data.prompt, self.data.items
        asked = [ask(prompt, template, row) for row in items.rows]
        if prompt.scored == "choices":
            for one, target, row in zip(asked, items.targets.tolist(), items.rows, strict=True):
                right_choice(prompt, one, target, row)
        if not self.asker.encoder.masked and any(one.after for one in asked):
            raise ConfigError(
                where=f"prompt {prompt.name}",
                expected="{{answer}} at the end of a template for a causal language model, which sees no further",
                found=repr(template.text),
                do="move it there, or put the template among masked_templates",
            )
        return asked

    def _chosen(self, templates: Sequence[Template]) -> dict[int, Template]:
        numbers = self._settings.templates or range(1, len(templates) + 1)
        for number in numbers:
            if number > len(templates):
                raise ConfigError(
                    where="--templates",
                    expected=f"numbers from 1 to {len(templates)} for prompt {self.data.prompt.name}",
                    found=str(number),
                    do="leave it out",
                )
        return {number: templates[number - 1] for number in numbers}

    def _require_classes(self) -> None:
        """Calibration takes away what a prompt says to each class, so that there must be classes."""
        methods = [one for one in self._settings.calibration if one != "none"]
        if methods and self.data.prompt.scored == "choices" and self.data.prompt.labels is None:
            raise ConfigError(
                where="--calibration",
                expected=f"none for prompt {self.data.prompt.name}, whose items have choices of their own",
                found=", ".join(methods),
                do="give --normalization pmi, which takes away what is said without the item",
            )


class _Reader:
    """Rows of the pool as text, each made once."""

    def __init__(self, data: PromptData, template: Template) -> None:
        self._data, self._template, self._asked = data, template, dict[int, Asked]()

    def item(self, row: int) -> str:
        """A row without its answer."""
        return self._ask(row).before

    def whole(self, row: int) -> str:
        """A row with the right answer."""
        pool: Items = self._data.pool
        return self._ask(row).filled(
            right_choice(self._data.prompt, self._ask(row), int(pool.targets[row]), pool.rows[row])
        )

    def _ask(self, row: int) -> Asked:
        if row not in self._asked:
            self._asked[row] = ask(self._data.prompt, self._template, self._data.pool.rows[row])
        return self._asked[row]


def _texts_of(value: Any) -> str:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\n".join(_texts_of(one) for one in value)
    return value if isinstance(value, str) else ""


def _scores(
    asked: Sequence[Asked], answers: Answers, without: Answers | None, nats_without: Floats | None = None
) -> ChoiceScores:
    shape = answers.nats.shape
    characters, utf8_bytes = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, one in enumerate(asked):
        characters[row, : len(one.choices)] = [len(choice) for choice in one.choices]
        utf8_bytes[row, : len(one.choices)] = [len(choice.encode()) for choice in one.choices]
    nats = without.nats if without is not None else nats_without
    return ChoiceScores(answers.nats, answers.tokens, characters, utf8_bytes, nats)
