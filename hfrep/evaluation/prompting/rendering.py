"""Rows of a task as the text that a model is shown, with the place where the answer goes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hfrep.errors import DataError
from hfrep.tasks.prompt import ANSWER, Prompt, Row, Template, evaluated, rendered

_PLACE = "\ue000answer\ue000"  # of the private use area, which no text has


@dataclass(frozen=True)
class Asked:
    """An item as text.

    Attributes:
        before, after: what stands on both sides of the answer.
        choices: what can stand there; the right answer alone where there are no choices.
    """

    before: str
    choices: tuple[str, ...]
    after: str = ""

    @property
    def unanswered(self) -> str:
        """The text without any answer: what tells items apart."""
        return self.before + self.after

    def filled(self, choice: int) -> str:
        return f"{self.before}{self.choices[choice]}{self.after}"

    def behind(self, shown: Sequence[str], prompt: Prompt) -> "Asked":
        """The same behind the instruction of `prompt` and the texts `shown`."""
        parts = [*([prompt.instruction] if prompt.instruction else []), *shown, self.before]
        return replace(self, before=prompt.separator.join(parts))


def ask(prompt: Prompt, template: Template, row: Row) -> Asked:
    """`row` as `template` puts it.

    Raises:
        DataError: the row does not fill the template, a choice of it is missing or empty, or the answer has not one
            place.
    """
    where = f"prompt {prompt.name}"
    parts = rendered(template.text, {**row, ANSWER: _PLACE}, where).split(_PLACE)
    if len(parts) != 2:
        found = f"{len(parts) - 1} of them in {template.text!r}"
        raise DataError(where=where, expected="{{answer}} once", found=found, do="correct the template")
    choices = tuple(_choices(prompt, template, row, where))
    for number, choice in enumerate(choices):
        if not choice.strip():
            found = f"nothing for choice {number} of the row {_short(row)}"
            raise DataError(where=where, expected="words for each choice", found=found, do="correct the file")
    return Asked(parts[0], choices, parts[1])


def right_choice(prompt: Prompt, asked: Asked, target: int, row: Row) -> int:
    """The number of the right choice, which there is.

    Raises:
        DataError: there is not.
    """
    if target >= len(asked.choices):
        raise DataError(
            where=f"prompt {prompt.name}",
            expected=f"a choice {target}, which the row says is right, counted from 0",
            found=f"{len(asked.choices)} choices in the row {_short(row)}",
            do="correct the file, or `label` in the prompt",
        )
    return target


def content_free(prompt: Prompt, row: Row) -> list[Row]:
    """Rows that say nothing: `row` with each of the prompt's content-free texts in the place of all of its own."""
    return [
        {name: text if isinstance(value, str) else value for name, value in row.items()} for text in prompt.content_free
    ]


def unconditioned(prompt: Prompt, template: Template, row: Row, asked: Asked) -> Asked:
    """The choices of `asked`, which is `row`, without the item on either side."""
    blank = asked.before[len(asked.before.rstrip()) :]
    text = prompt.unconditioned if template.unconditioned is None else template.unconditioned
    return Asked(rendered(text, row, f"prompt {prompt.name}") + blank, asked.choices)


def _choices(prompt: Prompt, template: Template, row: Row, where: str) -> Sequence[str]:
    choices = template.choices
    if choices is None:
        assert prompt.answer is not None
        return [rendered(prompt.answer, row, where)]
    if isinstance(choices, Mapping):
        assert prompt.labels is not None
        return [choices[label] for label in prompt.labels]
    if isinstance(choices, tuple):
        return [rendered(choice, row, where) for choice in choices]
    options = evaluated(choices, row, where)
    if not isinstance(options, list | tuple) or not options or not all(isinstance(one, str) for one in options):
        raise DataError(
            where=where,
            expected=f"a list of texts by {choices!r}",
            found=f"{options!r} for the row {_short(row)}",
            do="correct the file, or `choices` in the prompt",
        )
    return options


def _short(row: Row) -> str:
    text = str(dict(row))
    return text if len(text) <= 80 else f"{text[:77]}..."
