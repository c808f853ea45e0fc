"""Contamination: does a test item stand in the corpus that the model was pretrained on?

An item counts as touched when it shares a run of 13 words with a document: the 13-grams of Brown et al. 2020, "Language
Models are Few-Shot Learners", arXiv:2005.14165, appendix C. There the length is one for each data set, the fifth
percentile of its items' lengths, but at least 8 and at most 13. Here it is each item's own: one of 8 to 12 words is
looked for whole, and one of fewer than 8 is not checked, since phrases of that length are found anywhere. As there,
case and punctuation do not count, digits do: sums and years are often all that tells two items apart.

The runs are compared by 64-bit hashes. No shared run is missed; a corpus of w words touches a clean set of r runs by
mistake with a chance of about w · r / 2**64, 2e-7 for 37 million words and 100,000 runs. Runs that differ in one word
alone are mistaken with a chance of 2**-32 (see `hfrep.data.shingles`).

What it cannot see: a paraphrase, a translation, or a text cut into words in another way ("does n't" is three words,
"doesn't" two). And a touched item may share no more than a quotation: what was read need not be the answer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hfrep.data.order import Integers
from hfrep.data.shingles import Hashes, Shingles, Words, word_hashes

LONGEST = 13  # words of a run
SHORTEST = 8
FILTER_BITS = 20  # 1 MB, which a cache holds; 20,000 runs let 2 % of a corpus through


@dataclass(frozen=True)
class Contamination:
    """What came out for n items.

    Attributes:
        touched: bool [n], a document has 13 words in a row in common with the item, or all of its words if it has
            fewer.
        checked: bool [n], False where an item has fewer than 8 words; such an item is never touched.
        documents: how many were read.
    """

    touched: NDArray[np.bool_]
    checked: NDArray[np.bool_]
    documents: int

    def __str__(self) -> str:
        touched, checked = int(self.touched.sum()), int(self.checked.sum())
        return (
            f"{touched:,} of {checked:,} items ({touched / max(1, checked):.1%}) share {LONGEST} words in a row, "
            f"or all that they have, with one or more of {self.documents:,} documents; "
            f"{len(self.checked) - checked:,} items of fewer than {SHORTEST} words were not checked"
        )


def contaminated_items(items: Sequence[Sequence[str]], documents: Iterable[str]) -> Contamination:
    """The same for items of several texts, none of whose runs goes over into the next: one that is touched is enough.

    Args:
        items: the texts of each.
        documents: as for `contaminated`.
    """
    found = contaminated([text for texts in items for text in texts], documents)
    owners = np.repeat(np.arange(len(items)), [len(texts) for texts in items])
    touched, checked = (
        np.bincount(owners, weights=flags, minlength=len(items)) > 0 for flags in (found.touched, found.checked)
    )
    return Contamination(touched, checked, found.documents)


def contaminated(items: Sequence[str], documents: Iterable[str]) -> Contamination:
    """Which of `items` stand in `documents`, wholly or with a run of 13 words.

    The documents are read once, one at a time, and a run does not reach from one into the next. Memory is for the
    hashes of the items' runs and for one document.

    Args:
        items: each the text of one test item alone, without what all of them share, such as a prompt's instruction.
        documents: of the corpora that were trained on.
    """
    words = Words(digits=True)
    hashes = [word_hashes(words(item)) for item in items]
    sizes = np.array([len(item) for item in hashes], np.int64)
    checked = sizes >= SHORTEST
    lengths = np.where(checked, sizes.clip(max=LONGEST), 0)
    wanted = [_Runs(hashes, np.flatnonzero(lengths == length), length) for length in set(lengths[checked].tolist())]
    number = 0
    for document in documents:
        number += 1
        read = word_hashes(words(document))
        for runs in wanted:
            runs.look_in(read)
    touched = np.zeros(len(items), bool)
    for runs in wanted:
        touched[runs.owners_found()] = True
    return Contamination(touched, checked, number)


class _Runs:
    """The runs of `length` words of the items `numbers`, and which of them have been found."""

    def __init__(self, items: Sequence[Hashes], numbers: Integers, length: int) -> None:
        self._shingles = Shingles(length)
        runs = [self._shingles(items[number]) for number in numbers]
        self._owners = np.repeat(numbers, [len(one) for one in runs])
        self._wanted, self._run_of = np.unique(np.concatenate(runs), return_inverse=True)
        self._found = np.zeros(len(self._wanted), bool)
        # A look into this table spares nearly all runs of a corpus the binary search, which takes ten times as long.
        self._likely = np.zeros(1 << FILTER_BITS, bool)
        self._likely[_place(self._wanted)] = True

    def look_in(self, document: Hashes) -> None:
        """Note which runs stand in `document`, the hashes of its words, uint64 [w]."""
        runs = self._shingles(document)
        runs = runs[self._likely[_place(runs)]]
        nearest = np.searchsorted(self._wanted, runs).clip(max=len(self._wanted) - 1)
        self._found[nearest[self._wanted[nearest] == runs]] = True

    def owners_found(self) -> Integers:
        """Numbers of the items that have a run which was found, each as often as it has one."""
        return self._owners[self._found[self._run_of]]


def _place(runs: Hashes) -> Hashes:
    return runs >> np.uint64(64 - FILTER_BITS)
