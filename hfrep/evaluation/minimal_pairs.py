"""Minimal pairs: how often a model finds the acceptable sentence likelier than the unacceptable one.

As in BLiMP (Warstadt et al. 2020) a pair counts as right where the total log-likelihood of ``sentence_good`` is the
higher one, and a phenomenon and the whole are means over paradigms, whatever the number of pairs in each. A tie counts
as half.

Intervals hold 95 % and are about the pairs: other pairs of the same paradigms. Other paradigms, or another seed of the
same model, may move the numbers by more. For a paradigm the interval is Wilson's (1927), with a tie as half a success,
which errs on the wide side. For a mean over paradigms it is Wilson's for the number of independent pairs that would
leave as much variance as the paradigms together do: the effective sample size (Kish 1965, "Survey sampling"), used so
for proportions by Franco et al. 2019, "Comparative study of confidence intervals for proportions in complex sample
surveys". Shares enter the variance with half a right and half a wrong pair added, so that a paradigm whose pairs all
come out alike has one. The interval needs no random numbers, is Wilson's own for a single paradigm, and stays inside
[0, 1]; a bootstrap or a normal approximation has no width where all pairs come out alike.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hfrep.data.local import read_objects
from hfrep.errors import DataError
from hfrep.evaluation.interval import wilson

ENDINGS = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True)
class MinimalPair:
    """Two sentences, and what tells them apart: a paradigm, which may belong to a phenomenon."""

    good: str
    bad: str
    paradigm: str
    phenomenon: str | None = None


@dataclass(frozen=True)
class Accuracy:
    """A share of pairs that were judged right, ties as half, with the limits of its 95 % interval."""

    accuracy: float
    low: float
    high: float
    pairs: int
    ties: int

    def __str__(self) -> str:
        return f"{self.accuracy:8.1%}   {self.low:6.1%} … {self.high:6.1%} {self.pairs:8,} {self.ties:5,}"


@dataclass(frozen=True)
class Judgement:
    """What came out.

    Attributes:
        overall: mean over all paradigms.
        phenomena: means over the paradigms of each, by name; empty where the pairs name none.
        paradigms: by name.
        members: paradigms of each phenomenon.
    """

    overall: Accuracy
    phenomena: Mapping[str, Accuracy]
    paradigms: Mapping[str, Accuracy]
    members: Mapping[str, Sequence[str]]

    def table(self) -> Iterator[str]:
        """Lines of text: each phenomenon over its paradigms, then those without one, and the whole."""
        whole = f"mean of {len(self.paradigms)} paradigms"
        names = [whole, *self.members, *(f"  {name}" for name in self.paradigms)]
        width = max(map(len, names))
        yield f"{'':{width}} accuracy      95% interval    pairs  ties"
        grouped: set[str] = set()
        for phenomenon, paradigms in self.members.items():
            yield f"{phenomenon:{width}} {self.phenomena[phenomenon]}"
            yield from (f"{f'  {paradigm}':{width}} {self.paradigms[paradigm]}" for paradigm in paradigms)
            grouped.update(paradigms)
        for paradigm, accuracy in self.paradigms.items():
            if paradigm not in grouped:
                yield f"{paradigm:{width}} {accuracy}"
        yield f"{whole:{width}} {self.overall}"


def read_minimal_pairs(path: Path, *, max_pairs: int | None = None) -> list[MinimalPair]:
    """The pairs in a ``.jsonl`` or ``.jsonl.gz`` file, or in all such files below a folder.

    Fields are ``sentence_good`` and ``sentence_bad``, and where there are such ``UID``, the paradigm (otherwise the
    file's name), and ``linguistics_term``, the phenomenon.

    Args:
        max_pairs: of each paradigm, the first ones; all where None.

    Raises:
        DataError: nothing there, or a line without two sentences, with its number.
    """
    pairs: list[MinimalPair] = []
    seen: Counter[str] = Counter()
    for file in _files(path):
        name = str(file.relative_to(path) if path.is_dir() else file.name).removesuffix(".gz").removesuffix(".jsonl")
        before = seen.total()
        for number, row in read_objects(file):
            pair = _pair(file, number, row, name)
            seen[pair.paradigm] += 1
            if max_pairs is None or seen[pair.paradigm] <= max_pairs:
                pairs.append(pair)
        if seen.total() == before:
            raise _unreadable(str(file), "a JSON object a line", "an empty file", "remove it")
    return pairs


def judge(pairs: Sequence[MinimalPair], good: NDArray[np.float64], bad: NDArray[np.float64]) -> Judgement:
    """Compare the log-likelihoods `good` [n] and `bad` [n] of the sentences of `pairs`.

    Raises:
        DataError: one is not a finite number.
    """
    wrong = int(np.count_nonzero(~(np.isfinite(good) & np.isfinite(bad))))
    if wrong:
        raise _unreadable("the scores", "finite numbers", f"{wrong} pairs without", "check the weights of the model")
    wins, ties, number = Counter[str](), Counter[str](), Counter(pair.paradigm for pair in pairs)
    phenomena: dict[str, str] = {}
    for pair, first, second in zip(pairs, good.tolist(), bad.tolist(), strict=True):
        wins[pair.paradigm] += first > second
        ties[pair.paradigm] += first == second
        if pair.phenomenon is not None:
            phenomena.setdefault(pair.paradigm, pair.phenomenon)
    shares = {name: (wins[name] + ties[name] / 2) / number[name] for name in number}
    paradigms = {
        name: Accuracy(share, *wilson(share, number[name]), number[name], ties[name]) for name, share in shares.items()
    }
    members: dict[str, list[str]] = {}
    for paradigm, phenomenon in phenomena.items():
        members.setdefault(phenomenon, []).append(paradigm)
    return Judgement(
        overall=_mean(paradigms.values()),
        phenomena={name: _mean(paradigms[paradigm] for paradigm in group) for name, group in members.items()},
        paradigms=paradigms,
        members=members,
    )


def _mean(of: Iterable[Accuracy]) -> Accuracy:
    """Mean over paradigms; see the module for its interval."""
    parts = list(of)
    share = math.fsum(part.accuracy for part in parts) / len(parts)
    smoothed = [(part.accuracy * part.pairs + 0.5) / (part.pairs + 1) for part in parts]
    variances = (one * (1 - one) / part.pairs for one, part in zip(smoothed, parts, strict=True))
    variance, middle = math.fsum(variances) / len(parts) ** 2, math.fsum(smoothed) / len(parts)
    low, high = wilson(share, middle * (1 - middle) / variance)
    return Accuracy(share, low, high, sum(part.pairs for part in parts), sum(part.ties for part in parts))


def _files(path: Path) -> list[Path]:
    endings = " or ".join(ENDINGS)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.name.endswith(ENDINGS) and file.is_file())
        if not files:
            raise _unreadable(str(path), f"files ending in {endings}", "none below it", "give another folder")
        return files
    if not path.is_file():
        raise _unreadable(str(path), "a file or a folder of minimal pairs", "nothing there", "correct the path")
    if not path.name.endswith(ENDINGS):
        raise _unreadable(str(path), f"a file ending in {endings}", path.suffix or "no ending", "give another")
    return [path]


def _pair(file: Path, number: int, row: Mapping[str, object], name: str) -> MinimalPair:
    for field in ("sentence_good", "sentence_bad"):
        if field not in row:
            found = f"only {', '.join(row) or 'nothing'} in line {number}"
            raise _unreadable(str(file), f"a field {field!r} in every line", found, "correct the file")
        text = row[field]
        if not isinstance(text, str) or not text.strip():
            raise _unreadable(str(file), f"a sentence in {field!r}", f"{text!r} in line {number}", "correct the file")
    phenomenon = row.get("linguistics_term")
    return MinimalPair(
        good=str(row["sentence_good"]),
        bad=str(row["sentence_bad"]),
        paradigm=str(row.get("UID") or name),
        phenomenon=None if phenomenon is None else str(phenomenon),
    )


def _unreadable(where: str, expected: str, found: str, do: str) -> DataError:
    return DataError(where=where, expected=expected, found=found, do=do)
