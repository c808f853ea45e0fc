"""Shingles: every run of so many words of a text as one 64-bit number, the same in every process.

Shingles as in Broder, "On the resemblance and containment of documents" (1997). A word is hashed by its CRC-32, a run
by a polynomial in the hashes of its words modulo 2**64 (Karp and Rabin 1987). Two different runs get the same number
with a chance of about 2**-64; of 2**-32 if they differ in one word alone, for that is the chance that two words do.
"""

import re
import string
import zlib

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so its powers mix all 64 bits


class Words:
    """Cuts a text into words of letters, or of letters and digits; case, punctuation and white space do not count.

    It gives what the expression ``[^\\W\\d_]+`` finds in the text in lower case, or ``[^\\W_]+`` with digits; as UTF-8,
    in half the time, since ASCII, which is nearly all of most texts, goes through a table.
    """

    def __init__(self, *, digits: bool) -> None:
        kept = string.ascii_letters + string.digits * digits
        self._ascii = bytes(code if code >= 128 or chr(code) in kept else ord(" ") for code in range(256))
        # A lookbehind, because the search for a match is quickest where the first thing to match is a range.
        self._others = re.compile(r"[^\x00-\x7f](?<=\W)" if digits else r"[^\x00-\x7f](?<=[\W\d])")

    def __call__(self, text: str) -> list[bytes]:
        return self._others.sub(" ", text.lower()).encode().translate(self._ascii).split()


def word_hashes(words: list[bytes]) -> Hashes:
    """One number per word, uint64 [w]."""
    # Not hash(): that of bytes differs from process to process.
    return np.fromiter(map(zlib.crc32, words), np.uint64, len(words)) * np.uint64(_MULTIPLIER)


class Shingles:
    """Turns the hashes of w words into those of their runs of `length` words."""

    def __init__(self, length: int) -> None:
        self.length = length
        powers = [pow(_MULTIPLIER, power, 1 << 64) for power in range(length, 0, -1)]
        self._powers = np.array(powers, dtype=np.uint64)

    def __call__(self, hashes: Hashes) -> Hashes:
        """One number per run, uint64 [w - length + 1], of `word_hashes` uint64 [w]; none if there are too few words."""
        if len(hashes) < self.length:  # where np.convolve would swap its arguments
            return hashes[:0]
        runs: Hashes = np.convolve(hashes, self._powers, "valid")  # unsigned, so it wraps around
        return runs
