"""Prompts that fit into the model: demonstrations that do not are dropped, from the oldest one on.

The oldest stands first in the prompt, farthest from what is asked.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hfrep.data.order import Integers
from hfrep.data.tokenizer import encode_documents
from hfrep.errors import DataError
from hfrep.evaluation.prompting.encoding import Encoded, PromptTokenizer, Question
from hfrep.evaluation.prompting.rendering import Asked
from hfrep.tasks.prompt import Prompt

Long = Literal["refuse", "cut"]


def fitted(
    prompt_tokenizer: PromptTokenizer,
    prompt: Prompt,
    asked: Sequence[Asked],
    shown: Sequence[Integers],
    texts: Sequence[str],
    long: Long,
) -> list[Question]:
    """Each of `asked` behind its demonstrations, as tokens that the model has room for.

    Args:
        shown: numbers of the demonstrations of each item among `texts`, the oldest first.
        texts: demonstrations, whole.
        long: what to do with an item that is too long without any: refuse, or cut its beginning off.

    Raises:
        DataError: there is such an item.
    """
    tried = [len(numbers) for numbers in shown]
    kept, over = [-1] * len(asked), [number + 1 for number in tried]  # the most that fit, and the fewest that do not
    found: list[tuple[Encoded, ...]] = [()] * len(asked)
    waiting, costs = list(range(len(asked))), _Costs(prompt_tokenizer, prompt, texts)
    while waiting:
        whole = [
            asked[item].behind([texts[number] for number in _last(shown[item], tried[item])], prompt)
            for item in waiting
        ]
        for item, answers in zip(waiting, prompt_tokenizer(whole), strict=True):
            excess = prompt_tokenizer.excess(answers)
            if excess <= 0 or tried[item] == 0:
                found[item], kept[item] = answers, tried[item]
                tried[item] += 1
            else:
                over[item] = tried[item]
                # One step short of what the parts' lengths say: joined they have some tokens less than alone, or more.
                step = max(1, costs.needed(_last(shown[item], tried[item]), excess) - 1)
                tried[item] = max(kept[item] + 1, tried[item] - step)
        waiting = [item for item in waiting if kept[item] + 1 < over[item]]
    groups: dict[tuple[int, ...], int] = {}
    return [
        _question(
            prompt_tokenizer,
            prompt,
            found[item],
            groups.setdefault(tuple(_last(numbers, kept[item]).tolist()), len(groups)),
            len(numbers) - kept[item],
            long,
            asked[item],
        )
        for item, numbers in enumerate(shown)
    ]


class _Costs:
    """Tokens of each demonstration, counted once and only where something does not fit."""

    def __init__(self, prompt_tokenizer: PromptTokenizer, prompt: Prompt, texts: Sequence[str]) -> None:
        self._prompt_tokenizer, self._prompt, self._texts = prompt_tokenizer, prompt, texts
        self._lengths: dict[int, int] = {}

    def needed(self, numbers: Integers, excess: int) -> int:
        """How many of the first demonstrations `numbers` have `excess` tokens together."""
        new = [number for number in numbers.tolist() if number not in self._lengths]
        texts = [self._texts[number] + self._prompt.separator for number in new]
        for number, encoding in zip(new, encode_documents(self._prompt_tokenizer.tokenizer, texts), strict=True):
            self._lengths[number] = len(encoding.ids)
        together = np.cumsum([self._lengths[number] for number in numbers.tolist()])
        return int(np.searchsorted(together, excess)) + 1


def _last(numbers: Integers, kept: int) -> Integers:
    return numbers[len(numbers) - kept :]


def _question(
    prompt_tokenizer: PromptTokenizer,
    prompt: Prompt,
    answers: tuple[Encoded, ...],
    group: int,
    dropped: int,
    long: Long,
    asked: Asked,
) -> Question:
    excess = prompt_tokenizer.excess(answers)
    if excess <= 0:
        return Question(group, answers, dropped)
    begin = len(prompt_tokenizer.frame[0])
    if prompt.instruction:  # stays; counted by itself, as whose end it is read nearly always
        instruction = prompt.instruction + prompt.separator
        begin += len(encode_documents(prompt_tokenizer.tokenizer, [instruction])[0].ids)
    possible = min(encoded.first for encoded in answers) - begin - (not prompt_tokenizer.masked)
    if long == "refuse" or possible < excess:
        room = f"the {prompt_tokenizer.room} tokens that the model was made for"
        room += f", less {prompt_tokenizer.writes} to write" if prompt_tokenizer.writes else ""
        refused = "leave such items out, shorten the template, or give --long_items cut"
        raise DataError(
            where=f"prompt {prompt.name}",
            expected=f"items of at most {room}, without demonstrations",
            found=f"{prompt_tokenizer.room - prompt_tokenizer.writes + excess} tokens in {asked.before[:40]!r}…",
            do=refused if long == "refuse" else "shorten the answers, or what stands behind them",
        )
    cut = tuple(_cut(encoded, begin, excess) for encoded in answers)
    return Question(group, cut, dropped, excess)


def _cut(encoded: Encoded, begin: int, excess: int) -> Encoded:
    """Without the first `excess` tokens behind the `begin` special ones."""
    ids = (*encoded.ids[:begin], *encoded.ids[begin + excess :])
    return Encoded(ids, encoded.first - excess, encoded.end - excess)
