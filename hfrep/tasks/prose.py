"""Examples made from sentences: what was done to them, or taken from them, is the label."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

VERBS = ("add", "check", "compute", "convert", "create", "find", "return", "set")
_VERB = {form: verb for verb in VERBS for form in (verb, f"{verb}s", f"{verb}es")}
_SENTENCE_END = re.compile(r"(?<=[.!?]) (?=[A-Z])")
_PLAIN = re.compile(r"[a-z]+")

Sentences = tuple[str, ...]


@dataclass(frozen=True)
class Example:
    texts: tuple[str, ...]
    label: str | float


@dataclass(frozen=True)
class Exercise:
    """How examples are made.

    Attributes:
        sentences: the first ones of a paragraph, of which it makes an example.
        fewest, most: words in each of them.
        make: gets them, all randomness it may use, and words of other sentences; None where nothing comes of them.
    """

    sentences: int
    fewest: int
    most: int
    make: Callable[[Sentences, random.Random, Sequence[str]], Example | None]

    def passage(self, paragraph: str) -> Sentences | None:
        """The sentences of a paragraph that an example can be made of; None where it has too few or others."""
        sentences = _SENTENCE_END.split(paragraph, maxsplit=self.sentences)[: self.sentences]
        fit = all(self.fewest <= len(sentence.split()) <= self.most for sentence in sentences)
        return tuple(sentences) if fit and len(sentences) == self.sentences else None


def word_order(sentences: Sentences, draw: random.Random, others: Sequence[str]) -> Example | None:
    """The sentence, in half of the cases with its lower-case words shuffled over the places that these have."""
    words = sentences[0].split()
    places = [place for place in range(1, len(words)) if _PLAIN.fullmatch(words[place])]
    if len({words[place] for place in places}) < 4:
        return None
    label = draw.choice(["shuffled", "written"])
    if label == "shuffled":
        words = _shuffled(words, places, draw)
    return Example((" ".join(words),), label)


def sentence_order(sentences: Sentences, draw: random.Random, others: Sequence[str]) -> Example:
    """Two neighbours, in half of the cases the other way round."""
    label = draw.choice(["swapped", "written"])
    return Example(sentences if label == "written" else sentences[::-1], label)


def verb(sentences: Sentences, draw: random.Random, others: Sequence[str]) -> Example | None:
    """A sentence that begins with one of `VERBS`, or its third person, without it."""
    first, rest = sentences[0].split(" ", 1)
    name = _VERB.get(first.lower())
    return None if name is None else Example((rest,), name)


def similarity(sentences: Sentences, draw: random.Random, others: Sequence[str]) -> Example:
    """A sentence, and a copy in which none to all of its words have made room for others; what share is left, of 5."""
    words = sentences[0].split()
    replaced = set(draw.sample(range(len(words)), draw.randint(0, len(words))))
    copy = [draw.choice(others) if place in replaced else word for place, word in enumerate(words)]
    left = sum(one == other for one, other in zip(words, copy, strict=True))
    return Example((sentences[0], " ".join(copy)), 5 * left / len(words))


def _shuffled(words: list[str], places: list[int], draw: random.Random) -> list[str]:
    shuffled = list(words)
    while shuffled == words:
        order = draw.sample(places, len(places))
        for place, other in zip(places, order, strict=True):
            shuffled[place] = words[other]
    return shuffled
