"""Near-duplicates: a paragraph is left out when most of its runs of eight words have been seen before.

Shingles and containment as in Broder, "On the resemblance and containment of documents" (1997), with a shingle of
eight words; what has been seen is kept in a Bloom filter of one hash function, so memory does not grow. Parameter
descriptions are the case this is for: the same sentence stands in hundreds of docstrings with a name changed.
"""

import hashlib

import numpy as np

from hfrep.data.shingles import Shingles, Words, word_hashes

SHINGLE = 8  # words
MAX_SEEN = 0.5  # share of a paragraph's shingles
FILTER_BITS = 26  # 64 MB; a million shingles fill 1.5 % of it, which is then the rate of false alarms


class Novelty:
    """Admits a text the first time; case, digits, punctuation and white space do not make it another text."""

    def __init__(self) -> None:
        self._texts: set[bytes] = set()
        self._words = Words(digits=False)
        self._shingles = Shingles(SHINGLE)
        self._seen = np.zeros(1 << FILTER_BITS, dtype=bool)

    def admits(self, text: str) -> bool:
        """Whether `text` is new, in which case it is now seen."""
        words = self._words(text)
        digest = hashlib.blake2b(b" ".join(words), digest_size=8).digest()
        if digest in self._texts:
            return False
        self._texts.add(digest)
        if len(words) < SHINGLE:
            return True
        places = self._shingles(word_hashes(words)) >> np.uint64(64 - FILTER_BITS)
        if self._seen[places].mean() > MAX_SEEN:
            return False
        self._seen[places] = True
        return True
