"""Near-duplicates: a paragraph is left out when most of its runs of eight words have been seen before.

Shingles and containment as in Broder, "On the resemblance and containment of documents" (1997), with a shingle of
eight words; what has been seen is kept in a Bloom filter of one hash function, so memory does not grow. Parameter
descriptions are the case this is for: the same sentence stands in hundreds of docstrings with a name changed.
"""

import hashlib
import re
import zlib

import numpy as np
from numpy.typing import NDArray

SHINGLE = 8  # words
MAX_SEEN = 0.5  # share of a paragraph's shingles
FILTER_BITS = 26  # 64 MB; a million shingles fill 1.5 % of it, which is then the rate of false alarms

_MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so its powers mix all 64 bits
_POWERS = np.array([pow(_MULTIPLIER, power, 1 << 64) for power in range(1, SHINGLE + 1)], dtype=np.uint64)
_WORD = re.compile(r"[^\W\d_]+")


class Novelty:
    """Admits a text the first time; case, digits, punctuation and white space do not make it another text."""

    def __init__(self) -> None:
        self._texts: set[bytes] = set()
        self._word_hashes: dict[str, int] = {}
        self._seen = np.zeros(1 << FILTER_BITS, dtype=bool)

    def admits(self, text: str) -> bool:
        """Whether `text` is new, in which case it is now seen."""
        words = _WORD.findall(text.lower())
        digest = hashlib.blake2b(" ".join(words).encode(), digest_size=8).digest()
        if digest in self._texts:
            return False
        self._texts.add(digest)
        if len(words) < SHINGLE:
            return True
        shingles = self._shingles(words)
        if self._seen[shingles].mean() > MAX_SEEN:
            return False
        self._seen[shingles] = True
        return True

    def _shingles(self, words: list[str]) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
        """Positions in the filter, one for each run of `SHINGLE` words: a polynomial hash modulo 2**64."""
        hashes = self._word_hashes
        for word in words:
            if word not in hashes:
                # Not hash(): that of strings differs from process to process.
                hashes[word] = zlib.crc32(word.encode()) * _MULTIPLIER % (1 << 64)
        values = np.array([hashes[word] for word in words], dtype=np.uint64)
        mixed: NDArray[np.uint64] = np.convolve(values, _POWERS[::-1], "valid")  # unsigned, so it wraps around
        return mixed >> np.uint64(64 - FILTER_BITS)
