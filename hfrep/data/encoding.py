"""Texts → tokens, each different word tokenized once.

A text of a million words holds some tens of thousands of different ones, and a tokenizer finds the tokens of each anew
wherever it stands, on as many cores as there are; one thread that looks them up is faster than a few cores. Where its
rules let no token reach over a blank, a text can be cut there, and what stands between two cuts looked up. What is
not found is cut once more where the rules part words from punctuation: "end", "end." and "(end" hold one word. What
comes out is what the tokenizer gives for the whole text: which rules those are stands in tables, and a tokenizer with
any other is asked for whole texts, as is one that, against the tables, gives other tokens for the first texts.
"""

import itertools
import json
import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from hfrep.data.order import Integers
from hfrep.data.tokenizer import encode_documents

KNOWN_CHARACTERS = 1 << 23  # of pieces that are kept, some 200 MB; beyond them, they are learnt anew
JOINED = 500  # pieces that are tokenized in one
CHECKED_CHARACTERS = 100_000  # of the first texts, which are tokenized both ways
Cut = Callable[[Sequence[str]], tuple[Iterable[str], Integers]]  # all pieces, and how many of them each text has

# Normalizers that change a character by itself or with marks behind it, and never across a blank.
LOCAL_NORMALIZERS = {"BertNormalizer", "Lowercase", "StripAccents", "NFC", "NFD", "NFKC", "NFKD"}
COMPOSING = {"NFC", "NFKC"}  # a sign and a mark behind it become one character
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
        self._pieces = _Pieces.of(tokenizer)
        self._checked = False

    def __call__(self, texts: Sequence[str]) -> Encoded:
        if self._pieces is not None and not self._checked:
            self._check(self._pieces, texts)
        if self._pieces is not None and self._pieces.characters > KNOWN_CHARACTERS:
            self._pieces = _Pieces.of(self.tokenizer)
        return whole(self.tokenizer, texts) if self._pieces is None else self._pieces.encode(texts)

    def _check(self, pieces: "_Pieces", texts: Sequence[str]) -> None:
        """Go on without pieces where the first texts come out differently with them."""
        ends = np.cumsum([len(text) for text in texts])
        first = texts[: int(np.searchsorted(ends, CHECKED_CHARACTERS)) + 1]
        both = zip(whole(self.tokenizer, first), pieces.encode(first), strict=True)
        if not all(np.array_equal(one, other) for one, other in both):
            self._pieces = None
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

    Args:
        cut: texts into pieces.
        tokenize: what is asked for the tokens of new pieces.
    """

    def __init__(self, cut: Cut, tokenize: Callable[[Sequence[str]], Encoded]) -> None:
        super().__init__()
        self._cut, self._tokenize, self.characters = cut, tokenize, 0
        self._new: list[str] = []
        nothing = np.zeros(0, np.int64)
        self._known = Encoded(nothing, nothing.astype(bool), nothing)

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast) -> "_Pieces | None":
        """Pieces for texts; None where the tokenizer's rules let no cut be made."""
        pieces, tokenize = None, Apart(tokenizer).__call__
        for cut in reversed(cuts(tokenizer)):
            pieces = cls(cut, tokenize)
            tokenize = pieces.encode
        return pieces

    def __missing__(self, piece: str) -> int:
        number = self[piece] = len(self)
        self._new.append(piece)
        return number

    def encode(self, texts: Sequence[str]) -> Encoded:
        pieces, counts = self._cut(texts)
        numbers = np.fromiter(map(self.__getitem__, pieces), np.int64, int(counts.sum()))
        self._learn()
        found = taken(self._known, numbers)
        ends = np.concatenate(([0], np.cumsum(found.lengths)))[np.concatenate(([0], np.cumsum(counts)))]
        return found._replace(lengths=np.diff(ends))

    def _learn(self) -> None:
        """Tokenize the pieces that were not known."""
        self._known = _together(self._known, self._tokenize(self._new))
        self.characters += sum(len(piece) for piece in self._new)
        self._new = []


def cuts(tokenizer: PreTrainedTokenizerFast) -> Sequence[Cut]:
    """What cuts a text into pieces whose tokens, one after the other, are those of the text; then what cuts these so.

    First at blanks that words are dropped between, or before a blank that goes with the word behind it; then where
    punctuation begins and ends. None where no cut is known to be safe.
    """
    parts: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    ordinary = [token for token in parts["added_tokens"] if not token["special"]]  # found in a text before any word is
    normalizers = {part["type"] for part in _in_order(parts["normalizer"])}
    if ordinary or parts["model"].get("dropout") or not normalizers <= LOCAL_NORMALIZERS:
        return []
    if not (order := _in_order(parts["pre_tokenizer"])):
        return []
    first, *others = order
    if not all(one["type"] in CUTTING_FURTHER for one in others):
        return []
    if first["type"] in DROPPING:
        isolated = first["type"] == "BertPreTokenizer" and not normalizers & COMPOSING
        return [_at_blanks, _at_punctuation] if isolated else [_at_blanks]
    by_bytes = first["type"] == "ByteLevel" and first["use_regex"] and normalizers <= KEEPING_ENDS
    by_blanks = first["type"] == "Metaspace" and first["split"]
    return [_before_blanks] if by_bytes or by_blanks else []


def _at_blanks(texts: Sequence[str]) -> tuple[Iterable[str], Integers]:
    # Only what all of the pre-tokenizers take for blanks: Python has more of them.
    return _one_after_another([text.replace("\n", " ").split(" ") for text in texts])


# Signs that stay what they are by any normalizer that does not compose, and that are words of their own.
_SIGN_OR_WORD = re.compile("[ {0}]|[^ {0}]+".format(re.escape(string.punctuation)))


def _at_punctuation(texts: Sequence[str]) -> tuple[Iterable[str], Integers]:
    """Of texts without a blank. All are cut as one, since many short lists cost more than what is in them; the blank
    behind each is a piece too, which has no tokens."""
    pieces = _SIGN_OR_WORD.findall("".join(f"{text} " for text in texts))
    ends = np.flatnonzero(np.fromiter(map(" ".__eq__, pieces), bool, len(pieces)))
    return pieces, np.diff(ends, prepend=-1)


# A piece ends where a single blank stands between two characters that are none: runs of blanks are words of their own
# for some tokenizers, of which the last blank belongs to the next word, and stay within a piece.
_PIECE = re.compile(r"(?: (?=\S))?\S*+(?:(?! \S)\s++\S*+)*+")  # possessive: no way back is kept in memory


def _before_blanks(texts: Sequence[str]) -> tuple[Iterable[str], Integers]:
    return _one_after_another([_PIECE.findall(text)[:-1] for text in texts])  # no text ends without an empty match


def _one_after_another(pieces: Sequence[Sequence[str]]) -> tuple[Iterable[str], Integers]:
    return itertools.chain.from_iterable(pieces), np.fromiter(map(len, pieces), np.int64, len(pieces))


def _in_order(part: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    """The members of a sequence, or the part itself; none where there is none."""
    if part is None:
        return []
    if part["type"] != "Sequence":
        return [part]
    members: Sequence[Mapping[str, Any]] = part.get("pretokenizers") or part.get("normalizers") or []
    return members
