"""Texts → tokens, each different stretch between two blanks tokenized once.

A text of a million words holds some tens of thousands of different ones, and a tokenizer finds the tokens of each anew
wherever it stands, on as many cores as there are; one thread that looks them up is faster than a few cores. Where its
rules let no token reach over a blank, a text can be cut there, and what stands between two cuts looked up. What comes
out is what the tokenizer gives for the whole text: which rules those are stands in tables, and a tokenizer with any
other is asked for whole texts, as is one that, against the tables, gives other tokens for the first texts.
"""

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from hfrep.data.order import Integers
from hfrep.data.tokenizer import encode_documents

KNOWN_CHARACTERS = 1 << 23  # of pieces that are kept, some 200 MB; beyond them, they are learnt anew
JOINED = 500  # pieces that are tokenized in one
CHECKED_CHARACTERS = 100_000  # of the first texts, which are tokenized both ways
Cut = Callable[[str], list[str]]

# Normalizers that change a character by itself or with marks behind it, and never across a blank.
LOCAL_NORMALIZERS = {"BertNormalizer", "Lowercase", "StripAccents", "NFC", "NFD", "NFKC", "NFKD"}
# Those that leave no piece empty and put no blank at its end, where a run of blanks would reach over the cut.
KEEPING_ENDS = {"Lowercase", "NFC", "NFD", "NFKC", "NFKD"}
# Pre-tokenizers that drop blanks, so that words on both sides of one never meet.
DROPPING = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"}
# What may come after a pre-tokenizer of either kind: these only cut further.
CUTTING_FURTHER = {"Punctuation", "Digits", *DROPPING}


class Encoded(NamedTuple):
    """Tokens of d texts, laid end to end.

    Attributes:
        ids: int64 [t].
        word_starts: bool [t], whether a word starts there, as the tokenizer's pre-tokenizer cuts words.
        lengths: int64 [d], tokens of each text.
    """

    ids: Integers
    word_starts: NDArray[np.bool_]
    lengths: Integers


class Encoder:
    """Encodes texts with `tokenizer`: without special tokens, and those that a text spells out stay text."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self._cut = cutter(tokenizer)
        self._pieces = _Pieces(tokenizer)
        self._checked = False

    def __call__(self, texts: Sequence[str]) -> Encoded:
        if self._cut is not None and not self._checked:
            self._check(texts)
        if self._cut is None:
            return whole(self.tokenizer, texts)
        if self._pieces.characters > KNOWN_CHARACTERS:
            self._pieces = _Pieces(self.tokenizer)
        return self._pieces.encode(texts, self._cut)

    def _check(self, texts: Sequence[str]) -> None:
        """Go on without cuts where the first texts come out differently with them."""
        assert self._cut is not None
        ends = np.cumsum([len(text) for text in texts])
        first = texts[: int(np.searchsorted(ends, CHECKED_CHARACTERS)) + 1]
        both = zip(whole(self.tokenizer, first), self._pieces.encode(first, self._cut), strict=True)
        if not all(np.array_equal(one, other) for one, other in both):
            self._cut = None
        self._checked = True


def whole(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], *, special: bool = False) -> Encoded:
    """`texts` as the tokenizer encodes them by itself; `special`: special tokens that they spell out are such."""
    encodings = encode_documents(tokenizer, texts, special=special)
    lengths = np.fromiter(map(len, encodings), np.int64, len(encodings))
    total = int(lengths.sum())
    ids = np.fromiter((token for encoding in encodings for token in encoding.ids), np.int64, total)
    words = np.fromiter((word for encoding in encodings for word in encoding.word_ids), np.int64, total)
    starts = np.diff(words, prepend=-1) != 0
    starts[(np.cumsum(lengths) - lengths)[lengths > 0]] = True
    return Encoded(ids, starts, lengths)


class Apart:
    """Encodes short texts as `whole` does, many of them in one with a special token between, which is far less work.

    A special token is found before any other rule is applied, and what stands on its two sides goes on by itself.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        added = tokenizer.backend_tokenizer.get_added_tokens_decoder()
        self._special = re.compile("|".join(re.escape(token.content) for token in added.values()) or r"(?!)")
        rules = _in_order(json.loads(tokenizer.backend_tokenizer.to_str())["pre_tokenizer"])
        alike = all(rule.get("prepend_scheme") != "first" for rule in rules)  # at a text's start as behind the token
        literal = alike and not any(token.normalized or token.single_word for token in added.values())
        between = [number for number, token in added.items() if literal and not (token.lstrip or token.rstrip)]
        self._between = (between[0], added[between[0]].content) if between else None

    def __call__(self, texts: Sequence[str]) -> Encoded:
        if self._between is None:
            return whole(self.tokenizer, texts)
        odd = [self._special.search(text) is not None for text in texts]
        plain = [text for text, special in zip(texts, odd, strict=True) if not special]
        spelling = [text for text, special in zip(texts, odd, strict=True) if special]
        order = np.argsort(np.array(odd, bool), kind="stable")  # the plain ones first
        return taken(_together(self._joined(plain), whole(self.tokenizer, spelling)), np.argsort(order))

    def _joined(self, texts: Sequence[str]) -> Encoded:
        assert self._between is not None
        number, sign = self._between
        groups = (texts[first : first + JOINED] for first in range(0, len(texts), JOINED))
        joined = whole(self.tokenizer, ["".join(f"{text}{sign}" for text in group) for group in groups], special=True)
        ends = np.flatnonzero(joined.ids == number)
        if len(ends) != len(texts):
            return whole(self.tokenizer, texts)
        lengths, starts = np.diff(ends, prepend=-1) - 1, joined.word_starts
        starts[(ends - lengths)[lengths > 0]] = True
        inside = joined.ids != number
        return Encoded(joined.ids[inside], starts[inside], lengths)


def taken(encoded: Encoded, numbers: Integers) -> Encoded:
    """The texts `numbers`, int64 [n], of those that were encoded."""
    lengths = encoded.lengths[numbers]
    moved = (np.cumsum(encoded.lengths) - encoded.lengths)[numbers] - (np.cumsum(lengths) - lengths)
    places = np.arange(lengths.sum()) + np.repeat(moved, lengths)
    return Encoded(encoded.ids[places], encoded.word_starts[places], lengths)


def _together(one: Encoded, other: Encoded) -> Encoded:
    return Encoded(*(np.concatenate(parts) for parts in zip(one, other, strict=True)))


class _Pieces(dict[str, int]):
    """Pieces of text that were tokenized, numbered as they came, and the tokens of each.

    Looked up, a piece that is not there takes the next number (`__missing__`) and waits to be tokenized with others.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self._apart, self.characters = Apart(tokenizer), 0
        self._new: list[str] = []
        nothing = np.zeros(0, np.int64)
        self._known = Encoded(nothing, nothing.astype(bool), nothing)

    def __missing__(self, piece: str) -> int:
        number = self[piece] = len(self)
        self._new.append(piece)
        return number

    def encode(self, texts: Sequence[str], cut: Cut) -> Encoded:
        cuts = [cut(text) for text in texts]
        counts = np.fromiter(map(len, cuts), np.int64, len(cuts))
        pieces = itertools.chain.from_iterable(cuts)
        numbers = np.fromiter(map(self.__getitem__, pieces), np.int64, int(counts.sum()))
        self._learn()
        found = taken(self._known, numbers)
        ends = np.concatenate(([0], np.cumsum(found.lengths)))[np.concatenate(([0], np.cumsum(counts)))]
        return found._replace(lengths=np.diff(ends))

    def _learn(self) -> None:
        """Tokenize the pieces that were not known."""
        self._known = _together(self._known, self._apart(self._new))
        self.characters += sum(len(piece) for piece in self._new)
        self._new = []


def cutter(tokenizer: PreTrainedTokenizerFast) -> Cut | None:
    """What cuts a text into pieces whose tokens, one after the other, are those of the text; None where none is known.

    Cuts are at blanks that words are dropped between, or before a blank that goes with the word behind it.
    """
    parts: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    ordinary = [token for token in parts["added_tokens"] if not token["special"]]  # found in a text before any word is
    normalizers = {part["type"] for part in _in_order(parts["normalizer"])}
    if ordinary or parts["model"].get("dropout") or not normalizers <= LOCAL_NORMALIZERS:
        return None
    if not (order := _in_order(parts["pre_tokenizer"])):
        return None
    first, *others = order
    if not all(one["type"] in CUTTING_FURTHER for one in others):
        return None
    if first["type"] in DROPPING:
        return _at_blanks
    by_bytes = first["type"] == "ByteLevel" and first["use_regex"] and normalizers <= KEEPING_ENDS
    by_blanks = first["type"] == "Metaspace" and first["split"]
    return _before_blanks if by_bytes or by_blanks else None


def _at_blanks(text: str) -> list[str]:
    # Only what all of the pre-tokenizers take for blanks: Python has more of them.
    return text.replace("\n", " ").split(" ")


# A piece ends where a single blank stands between two characters that are none: runs of blanks are words of their own
# for some tokenizers, of which the last blank belongs to the next word, and stay within a piece.
_PIECE = re.compile(r"(?: (?=\S))?\S*+(?:(?! \S)\s++\S*+)*+")  # possessive: no way back is kept in memory


def _before_blanks(text: str) -> list[str]:
    pieces: list[str] = _PIECE.findall(text)
    pieces.pop()  # the empty match at the end of any text
    return pieces


def _in_order(part: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    """The members of a sequence, or the part itself; none where there is none."""
    if part is None:
        return []
    if part["type"] != "Sequence":
        return [part]
    members: Sequence[Mapping[str, Any]] = part.get("pretokenizers") or part.get("normalizers") or []
    return members
