"""One task put to one model: for each number of demonstrations, all templates and seeds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from hfrep.data.order import Integers
from hfrep.errors import ConfigError, DataError
from hfrep.evaluation.prompting.answers import Answers
from hfrep.evaluation.prompting.choices import ChoiceScores
from hfrep.evaluation.prompting.demonstrations import Chooser
from hfrep.evaluation.prompting.encoding import Question
from hfrep.evaluation.prompting.fitting import fitted
from hfrep.evaluation.prompting.outcome import Method, Outcome, Run
from hfrep.evaluation.prompting.prompted_model import PromptedModel
from hfrep.evaluation.prompting.rendering import Asked
from hfrep.evaluation.prompting.settings import PromptingSettings
from hfrep.evaluation.prompting.wording import Wording
from hfrep.evaluation.task_scores import Floats, Part, TaskScores
from hfrep.tasks.items import PromptData
from hfrep.tasks.prompt import Template


class PromptStudy:
    """Asks one model all that settings say of one task.

    Raises:
        ConfigError: the task and a setting do not go together, or the task and the model.
        DataError: a row of the task lacks what its prompt wants.
    """

    def __init__(self, model: PromptedModel, data: PromptData, settings: PromptingSettings) -> None:
        model.require(data.prompt)
        self.model, self.data, self._settings = model, data, settings
        self.templates = self._chosen(data.prompt.of(masked=model.prompt_tokenizer.masked))
        self._require_classes()
        masked = model.prompt_tokenizer.masked
        self._wordings = {number: Wording(data, one, masked=masked) for number, one in self.templates.items()}
        self._choosers = {
            number: Chooser(data, settings.demonstrations, wording.question, model.embed)
            for number, wording in self._wordings.items()
        }
        self._check_lengths()
        self._without_items: dict[tuple[Asked, ...], Floats] = {}

    @cached_property
    def methods(self) -> list[Method]:
        """What is made of the answers; one that changes nothing where they are not chosen."""
        if self.data.prompt.scored != "choices":
            return [Method("exact", "none")]
        calibrations = self._settings.calibration if self.data.prompt.labels is not None else ["none"]
        return [Method(one, other) for one in self._settings.normalization for other in calibrations]

    @cached_property
    def guesses(self) -> Mapping[str, float]:
        """The scores of who draws one of the choices, and of who always says the class that most items are of.

        Chance is that of the metric's expected counts. Where there are no choices there is nothing to guess.
        """
        prompt, references = self.data.prompt, self.data.items.targets
        if prompt.scored != "choices":
            return {}
        right = float(np.mean([1 / len(one.choices) for one in next(iter(self._wordings.values())).items]))
        positive = float(np.mean(references == 1))
        chances = {"accuracy": right, "f1": positive / (positive + 0.5), "matthews": 0.0}
        found = {"chance": float(np.mean([chances[name] for name in prompt.metrics]))}
        if prompt.labels is not None:
            common = np.bincount(references).argmax()
            part = Part(np.full((1, len(references)), common), references)
            found["majority class"] = TaskScores(prompt.metrics, (part,)).mean
        return found

    def protocol(self, given: Sequence[int], methods: Sequence[Method]) -> str:
        """How scores with so many demonstrations, by such methods, come about; in a line."""
        prompt, settings = self.data.prompt, self._settings
        shots = ", ".join(map(str, given))
        numbers = ", ".join(map(str, self.templates))
        drawn = f"{settings.demonstrations}, seeds {', '.join(map(str, settings.seeds))}"
        if settings.demonstrations == "first":
            drawn = "the first ones"
        if max(given) == 0:
            drawn = "none"
        scored = {
            "choices": f"choices by {self._likelihood()}: {'; '.join(map(str, methods))}",
            "greedy": "right where greedy decoding would write the answer",
            "generated": "right where greedy decoding writes the answer and nothing else before a stop string",
        }
        return (
            f"{prompt.title} for {self.model.name}: prompt {prompt.name} "
            f"{prompt.hash([*self.templates.values()])}, templates {numbers}; {shots} shots ({drawn}); "
            f"{scored[prompt.scored]}; metrics {', '.join(prompt.metrics)}; {prompt.reported}, "
            f"n = {len(self.data.items):,}, data {self.data.fingerprint[:8]}; at most "
            f"{self.model.prompt_tokenizer.room} tokens, longer items "
            f"{'cut' if settings.long_items == 'cut' else 'refused'}"
        )

    def __str__(self) -> str:
        pool = "the others of them" if self.data.asked_from_pool else f"{len(self.data.pool):,} rows"
        return (
            f"{self.data.prompt.title} for {self.model.name}: {len(self.data.items):,} items, templates "
            f"{', '.join(map(str, self.templates))}; demonstrations from {pool}"
        )

    def texts(self) -> list[list[str]]:
        """The items' own texts, without their labels and without what the prompt adds."""
        names = sorted(self.data.prompt.read_as_text)
        return [[text for name in names for text in _texts_of(row.get(name))] for row in self.data.items.rows]

    def ask(self, shots: int) -> Outcome:
        """Ask all items with so many demonstrations."""
        runs = [
            self._run(number, shots, seed)
            for number in self.templates
            for seed in self._settings.draws(shots, len(self.data.pool))
        ]
        return Outcome.of(self.model.name, self.data, shots, runs)

    def _likelihood(self) -> str:
        if not self.model.prompt_tokenizer.masked:
            return "log-likelihood"
        together = self._settings.masked_scoring == "mask"
        return "log-probability at the masks" if together else "pseudo-log-likelihood"

    def _run(self, number: int, shots: int, seed: int) -> Run:
        prompt, wording = self.data.prompt, self._wordings[number]
        chosen = self._choosers[number]([asked.unanswered for asked in wording.items], shots, seed)
        texts, places = _texts_of_rows(wording, chosen)
        questions = self._fitted(wording.items, places, texts)
        whole = [
            asked.behind([texts[place] for place in shown.tolist()[question.dropped :]], prompt)
            for asked, shown, question in zip(wording.items, places, questions, strict=True)
        ]
        run = Run(number, seed, whole, chosen, questions)
        if prompt.scored == "generated":
            return replace(run, texts=self.model.write(questions, prompt))
        answers = self.model(questions)
        if prompt.scored == "greedy":
            return replace(run, answers=answers)
        scores = _scores(wording.items, answers, self._unconditioned(wording.unconditioned))
        free = (
            self._content_free(number, shots, seed)
            if "contextual" in {one.calibration for one in self.methods}
            else None
        )
        return replace(
            run,
            answers=answers,
            scores=scores,
            content_free=free,
            unconditioned=wording.unconditioned if "pmi" in self._settings.normalization else (),
        )

    def _content_free(self, number: int, shots: int, seed: int) -> ChoiceScores:
        """The choices after inputs without content, behind demonstrations as for an item."""
        wording = self._wordings[number]
        asked = wording.content_free
        texts, places = _texts_of_rows(wording, self._choosers[number]([one.unanswered for one in asked], shots, seed))
        answers = self.model(self._fitted(asked, places, texts))
        return _scores(asked, answers, self._unconditioned(wording.content_free_unconditioned))

    def _unconditioned(self, asked: list[Asked]) -> Floats | None:
        """Log-likelihoods of the choices without items, asked once for all runs; None where nobody wants them."""
        if "pmi" not in self._settings.normalization:
            return None
        key = tuple(asked)
        if key not in self._without_items:
            nothing = [np.zeros(0, np.int64)] * len(asked)
            self._without_items[key] = self.model(self._fitted(asked, nothing, [])).nats
        return self._without_items[key]

    def _fitted(self, asked: Sequence[Asked], shown: Sequence[Integers], texts: Sequence[str]) -> list[Question]:
        prompt, prompt_tokenizer = self.data.prompt, self.model.prompt_tokenizer
        if prompt.scored == "generated":
            prompt_tokenizer = prompt_tokenizer.with_room_for(prompt.max_new_tokens)
        return fitted(prompt_tokenizer, prompt, asked, shown, texts, self._settings.long_items)

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

    def _check_lengths(self) -> None:
        """Refuse now what would be refused after other tasks were asked: items too long, too few rows to show."""
        most = len(self.data.pool) - self.data.asked_from_pool
        if max(self._settings.shots) > most:
            raise DataError(
                where=f"prompt {self.data.prompt.name}",
                expected=f"{max(self._settings.shots)} rows to show, other than the item",
                found=str(most),
                do="lower --shots",
            )
        for wording in self._wordings.values():
            self._fitted(wording.items, [np.zeros(0, np.int64)] * len(wording.items), [])

    def _require_classes(self) -> None:
        """Calibration takes away what a prompt says to each class, so that there must be classes."""
        methods = [one for one in self._settings.calibration if one != "none"]
        if (
            "none" not in self._settings.calibration
            and self.data.prompt.scored == "choices"
            and self.data.prompt.labels is None
        ):
            raise ConfigError(
                where="--calibration",
                expected=f"none for prompt {self.data.prompt.name}, whose items have choices of their own",
                found=", ".join(methods),
                do="give --normalization pmi, which takes away what is said without the item",
            )


def _texts_of_rows(wording: Wording, chosen: Sequence[Integers]) -> tuple[list[str], list[Integers]]:
    """The demonstrations in `chosen`, each different one once, and their places among these."""
    rows = np.unique(np.concatenate(chosen))
    return [wording.demonstration(row) for row in rows.tolist()], [np.searchsorted(rows, shown) for shown in chosen]


def _texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | Sequence):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _texts_of(one)


def _scores(asked: Sequence[Asked], answers: Answers, unconditioned: Floats | None) -> ChoiceScores:
    characters, utf8_bytes = np.zeros_like(answers.tokens), np.zeros_like(answers.tokens)
    for row, one in enumerate(asked):
        characters[row, : len(one.choices)] = [len(choice) for choice in one.choices]
        utf8_bytes[row, : len(one.choices)] = [len(choice.encode()) for choice in one.choices]
    return ChoiceScores(answers.nats, answers.tokens, characters, utf8_bytes, unconditioned)
