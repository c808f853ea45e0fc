"""The rows of a task in the words of one of its templates."""

from functools import cached_property

from hfrep.errors import ConfigError
from hfrep.evaluation.prompting.rendering import Asked, ask, content_free, right_choice, unconditioned
from hfrep.tasks.items import PromptData
from hfrep.tasks.prompt import Template


class Wording:
    """Items and what can be shown, each put into words once.

    Attributes:
        items: the items.

    Raises:
        ConfigError: a causal model is to be asked in the middle of a text.
        DataError: a row lacks what the template wants, or its right choice.
    """

    def __init__(self, data: PromptData, template: Template, *, masked: bool) -> None:
        self._data, self._template = data, template
        self._shown: dict[int, Asked] = {}
        self.items = [ask(data.prompt, template, row) for row in data.items.rows]
        if data.prompt.scored == "choices":
            for asked, target, row in zip(self.items, data.items.targets.tolist(), data.items.rows, strict=True):
                right_choice(data.prompt, asked, target, row)
        if not masked and any(asked.after for asked in self.items):
            raise ConfigError(
                where=f"prompt {data.prompt.name}",
                expected="{{answer}} at the end of a template for a causal language model, which sees no further",
                found=repr(template.text),
                do="move it there, or put the template among masked_templates",
            )

    @cached_property
    def unconditioned(self) -> list[Asked]:
        """The choices of each item without the item."""
        prompt, rows = self._data.prompt, self._data.items.rows
        return [unconditioned(prompt, self._template, row, asked) for row, asked in zip(rows, self.items, strict=True)]

    @cached_property
    def content_free(self) -> list[Asked]:
        """Items that say nothing."""
        prompt = self._data.prompt
        return [ask(prompt, self._template, row) for row in content_free(prompt, self._data.items.rows[0])]

    @cached_property
    def content_free_unconditioned(self) -> list[Asked]:
        """The choices of these without them."""
        prompt = self._data.prompt
        rows = content_free(prompt, self._data.items.rows[0])
        return [
            unconditioned(prompt, self._template, row, asked)
            for row, asked in zip(rows, self.content_free, strict=True)
        ]

    def question(self, row: int) -> str:
        """A row of the pool without its answer."""
        return self._asked(row).unanswered

    def demonstration(self, row: int) -> str:
        """A row of the pool with the right answer."""
        asked, pool = self._asked(row), self._data.pool
        return asked.filled(right_choice(self._data.prompt, asked, int(pool.targets[row]), pool.rows[row]))

    def _asked(self, row: int) -> Asked:
        if row not in self._shown:
            self._shown[row] = ask(self._data.prompt, self._template, self._data.pool.rows[row])
        return self._shown[row]
