"""Training of a Unigram vocabulary whose result does not depend on the process, its threads or the machine.

Kudo, 2018, *Subword Regularization* (arXiv:1804.10959), section 3.2: start from many substrings, fit their probabilities
by expectation–maximization over all segmentations of the words, throw away the pieces that the likelihood misses least,
repeat until the vocabulary has its size. The trainer of the tokenizers library does the same, but adds floats in the
order of a hash map that is seeded anew in each process, so that two runs give two vocabularies.

Here every sum has a fixed order, and the probabilities come from additions, multiplications and divisions alone, which
IEEE 754 rounds alike everywhere; the logarithms by which pieces are ranked are rounded before they are compared.

Deviations from the paper's implementation: seeds are all repeated substrings, not those a suffix array shows; the
sparse prior exp(ψ(c)) of the M step is c − ½, its limit for c ≫ 1.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

MAX_PIECE = 16  # symbols
MAX_WORD = 32  # symbols; of a longer word the beginning is used. 32 probabilities multiplied stay far above 1e-308
MAX_WORDS = 200_000  # the most frequent words speak for all, and bound memory
SEEDS_PER_TOKEN = 20
SHRINK = 0.75  # share of the pieces that a round keeps
SLACK = 1.1  # pieces left by the rounds for each token wanted; the final cut is by probability
SYMBOL_FLOOR = 0.01  # expected count given to a symbol that is never best alone, so that everything can be spelled
DIGITS = 9  # decimals of a log-probability that decide: far above rounding, far below meaning

Floats = NDArray[np.float64]


def train_unigram(words: Mapping[str, int], size: int, alphabet: Sequence[str]) -> list[tuple[str, float]]:
    """The `size` best pieces for `words` (word → how often) and their log-probabilities (nats), most probable first.

    Every symbol of `alphabet` is among them; `words` consist of these symbols. Fewer come back where the words have
    fewer repeated substrings.
    """
    ranked = sorted(words.items(), key=lambda item: (-item[1], item[0]))[:MAX_WORDS]
    kept: Counter[str] = Counter()
    for word, count in ranked:
        kept[word[:MAX_WORD]] += count
    pieces = _seeds(kept, SEEDS_PER_TOKEN * size, alphabet)
    lattice = _Lattice(kept, {piece: number for number, piece in enumerate(pieces)})
    counts = np.fromiter(kept.values(), np.float64, len(kept))
    probability = np.array([kept.get(piece, 0) + 1.0 for piece in pieces])
    probability /= probability.sum()
    symbols = len(alphabet)  # they stand first in `pieces`
    while True:
        for _ in range(2):
            expected = lattice.expected_counts(probability, counts)
            probability = _fitted(expected, symbols)
        if len(pieces) <= SLACK * size:
            break
        keep = _worth_keeping(pieces, probability, lattice.best_counts(probability, counts), symbols, size)
        lattice.renumber(keep, len(pieces))
        pieces = [pieces[number] for number in keep]
        probability = probability[keep] / probability[keep].sum()
    order = sorted(range(len(pieces)), key=lambda number: (number >= symbols, -probability[number], pieces[number]))
    chosen = [(pieces[number], round(math.log(probability[number]), DIGITS)) for number in order[:size]]
    return sorted(chosen, key=lambda piece: (-piece[1], piece[0]))


def _seeds(words: Mapping[str, int], size: int, alphabet: Sequence[str]) -> list[str]:
    """The alphabet, then the substrings that cover most symbols of the text."""
    substrings: Counter[str] = Counter()
    for word, count in words.items():
        for start in range(len(word) - 1):
            for end in range(start + 2, min(start + MAX_PIECE, len(word)) + 1):
                substrings[word[start:end]] += count
    repeated = ((piece, count) for piece, count in substrings.items() if count > 1)
    ranked = sorted(repeated, key=lambda item: (-item[1] * len(item[0]), item[0]))
    return [*alphabet, *(piece for piece, _ in ranked[:size])]


def _fitted(expected: Floats, symbols: int) -> Floats:
    """Maximization: the probabilities [pieces] behind `expected` counts; symbols never reach 0."""
    discounted = np.maximum(expected - 0.5, 0.0)
    discounted[:symbols] = np.maximum(discounted[:symbols], SYMBOL_FLOOR)
    return discounted / _ordered_sum(discounted)


def _worth_keeping(
    pieces: Sequence[str], probability: Floats, best: Floats, symbols: int, size: int
) -> NDArray[np.int64]:
    """The numbers of the pieces to go on with: symbols, and those whose loss would cost most likelihood."""
    alternative = _Lattice(pieces, {piece: number for number, piece in enumerate(pieces)}, whole=False)
    total = _ordered_sum(best)
    used = best.tolist()
    cost: list[tuple[float, str, int]] = []
    for number, others in enumerate(alternative.best_paths(probability)):
        if number < symbols or used[number] == 0 or probability[number] == 0:
            continue
        # If the piece went, its uses would go to the pieces of its second-best segmentation (SentencePiece's rule).
        grown = math.log(total + used[number] * (len(others) - 1))
        without = sum(math.log(used[other] + used[number]) - grown for other in others)
        loss = used[number] * (math.log(used[number] / total) - without)
        cost.append((-round(loss, DIGITS), pieces[number], number))
    room = max(math.ceil(SLACK * size), int(SHRINK * len(pieces))) - symbols
    kept = sorted(number for _, _, number in sorted(cost)[:room])
    return np.array([*range(symbols), *kept], np.int64)


def _ordered_sum(values: Floats) -> float:
    """The sum from left to right: `numpy.sum` chooses its order by the processor."""
    return float(np.cumsum(values)[-1])


class _Lattice:
    """All segmentations of some words into pieces, as arrays over the symbols of all words laid end to end.

    ``ids`` int32 [symbols, MAX_PIECE]: number of the piece that begins at a symbol and is one symbol long, two, …;
    the number after the last piece's where there is none. Words stand longest first, so that those still running at a position are the first ones.
    """

    def __init__(self, words: Iterable[str], index: Mapping[str, int], whole: bool = True) -> None:
        words = list(words)
        self.order = np.array(sorted(range(len(words)), key=lambda number: -len(words[number])), np.int64)
        words = [words[number] for number in self.order]
        self.lengths = np.array([len(word) for word in words], np.int64)
        self.first = np.array([0, *accumulate(len(word) for word in words)][:-1], np.int64)
        self.ids = np.full((int(self.lengths.sum()), MAX_PIECE), len(index), np.int32)
        row = 0
        for word in words:
            for start in range(len(word)):
                for end in range(start + 1, min(start + MAX_PIECE, len(word)) + 1):
                    if whole or end - start < len(word):
                        self.ids[row, end - start - 1] = index.get(word[start:end], len(index))
                row += 1

    def renumber(self, keep: NDArray[np.int64], pieces: int) -> None:
        """Of so many `pieces`, keep those numbered `keep` [k], ascending, under the numbers 0 … k − 1."""
        number = np.full(pieces + 1, len(keep), np.int32)
        number[keep] = np.arange(len(keep))
        self.ids = number[self.ids]

    def expected_counts(self, probability: Floats, counts: Floats) -> Floats:
        """Expectation: how often each piece occurs [pieces], over all segmentations of words that occur `counts`."""
        steps = list(self._steps(probability))
        forward, backward = self._table(), self._table()
        forward[0] = 1.0
        for at, _, passing in steps:
            for length, share in passing:
                forward[at + length, : len(share)] += forward[at, : len(share)] * share
        backward[self.lengths, np.arange(len(self.lengths))] = 1.0
        for at, _, passing in reversed(steps):
            for length, share in passing:
                backward[at, : len(share)] += share * backward[at + length, : len(share)]
        scale = counts[self.order] / backward[0]
        expected = np.zeros(len(probability) + 1)
        for at, ids, passing in steps:
            for length, share in passing:
                n = len(share)
                weight = scale[:n] * forward[at, :n] * share * backward[at + length, :n]
                expected += np.bincount(ids[:n, length - 1], weight, len(expected))
        return expected[:-1]

    def best_counts(self, probability: Floats, counts: Floats) -> Floats:
        """How often each piece occurs [pieces] where every word is segmented its most probable way."""
        best = np.zeros(len(probability))
        for count, path in zip(counts.tolist(), self.best_paths(probability), strict=True):
            for number in path:
                best[number] += count
        return best

    def best_paths(self, probability: Floats) -> list[list[int]]:
        """The pieces of each word's most probable segmentation, last piece first, in the order the words were given."""
        best, length_before = self._table(), np.zeros(self._table().shape, np.int64)
        best[0] = 1.0
        for at, _, passing in self._steps(probability):
            for length, share in passing:
                n = len(share)
                better = best[at, :n] * share > best[at + length, :n]
                best[at + length, :n][better] = (best[at, :n] * share)[better]
                length_before[at + length, :n][better] = length
        paths: list[list[int]] = [[] for _ in self.order]
        for word, (place, first, end) in enumerate(zip(self.order, self.first, self.lengths, strict=True)):
            while end > 0 and length_before[end, word]:
                length = length_before[end, word]
                end -= length
                paths[place].append(int(self.ids[first + end, length - 1]))
        return paths

    def _steps(self, probability: Floats) -> Iterator[tuple[int, NDArray[np.int32], list[tuple[int, Floats]]]]:
        """For each position: the ids [n, MAX_PIECE] there, and (length, probability [m]) of the pieces that begin there.

        `n` words are longer than the position; `m` of them hold a piece of that length.
        """
        lookup = np.append(probability, 0.0)  # 0 where there is no piece
        longest = int(self.lengths[0])
        running = np.searchsorted(-self.lengths, -np.arange(longest + 1), side="right")  # words of at least this length
        for at in range(longest):
            ids = self.ids[self.first[: running[at + 1]] + at]
            passing = [
                (length, lookup[ids[: running[at + length], length - 1]])
                for length in range(1, min(MAX_PIECE, longest - at) + 1)
            ]
            yield at, ids, passing

    def _table(self) -> Floats:
        """Zeros [positions + 1, words]."""
        return np.zeros((int(self.lengths[0]) + 1, len(self.lengths)))
