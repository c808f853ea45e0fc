"""Labelled texts, tokenized: rows of different lengths for objectives that predict a label or a number."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from hfrep.data.order import Integers, Order, Shuffled
from hfrep.data.rows import Arrays

TEXTS_AT_A_TIME = 4096


@dataclass(frozen=True)
class Examples:
    """Tokens of n examples laid end to end, and what each is labelled with.

    Attributes:
        ids: int32 [t], tokens of all examples, special ones included.
        types: uint8 [t], the tokenizer's ``token_type_ids``; None where it gives none.
        lengths: int64 [n], tokens of each example.
        targets: label numbers int64 [n], or values float32 [n]; zeros where nothing is known.
        pad: token that fills up shorter rows of a batch, on the right.
        truncated: bool [n], whether an example was cut.
        fingerprint: hex digest of the tokens.
    """

    ids: NDArray[np.int32]
    types: NDArray[np.uint8] | None
    lengths: Integers
    targets: NDArray[np.int64] | NDArray[np.float32]
    pad: int
    truncated: NDArray[np.bool_]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def targets_digest(self) -> str:
        """Hex digest of the targets."""
        return hashlib.blake2b(self.targets.tobytes(), digest_size=16).hexdigest()

    def order(self, seed: int) -> Order:
        """In which order training takes them."""
        return Shuffled(len(self), seed)

    @cached_property
    def starts(self) -> Integers:
        """Where each example begins in `ids`, int64 [n]."""
        return np.cumsum(self.lengths) - self.lengths

    def part(self, rows: Integers) -> "ExamplesPart":
        """The examples at `rows`, int64 [m], which know what they are a part of."""
        lengths = self.lengths[rows]
        moved = np.repeat(self.starts[rows] - (np.cumsum(lengths) - lengths), lengths)
        places = moved + np.arange(len(moved))
        return ExamplesPart(
            ids=self.ids[places],
            types=None if self.types is None else self.types[places],
            lengths=lengths,
            targets=self.targets[rows],
            pad=self.pad,
            truncated=self.truncated[rows],
            fingerprint=hashlib.blake2b(self.fingerprint.encode() + rows.tobytes(), digest_size=16).hexdigest(),
            whole=self,
            rows=rows,
        )

    def take(self, indices: Integers) -> Arrays:
        """``input_ids``, ``attention_mask`` and ``token_type_ids`` (if any) int64 [b, L], ``targets`` [b]."""
        lengths = self.lengths[indices]
        offsets = np.arange(lengths.max())
        inside = offsets < lengths[:, None]
        places = np.where(inside, self.starts[indices][:, None] + offsets, 0)
        taken = {
            "input_ids": np.where(inside, self.ids[places].astype(np.int64), self.pad),
            "attention_mask": inside.astype(np.int64),
            "targets": self.targets[indices],
        }
        if self.types is not None:
            taken["token_type_ids"] = np.where(inside, self.types[places].astype(np.int64), 0)
        return taken


@dataclass(frozen=True)
class ExamplesPart(Examples):
    """Some examples of a data set.

    Attributes:
        whole: that data set.
        rows: int64 [n], which of its examples they are.
    """

    whole: Examples
    rows: Integers


def encode(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Sequence[str]],
    targets: NDArray[np.int64] | NDArray[np.float32] | None,
    *,
    max_length: int,
) -> Examples:
    """Tokenize texts, or pairs of them, as the tokenizer does by itself: with its special tokens, cut to `max_length`.

    Args:
        texts: one column, or two.
        targets: label numbers or values; None where there are none.
        max_length: tokens; of a pair the longer text is cut first.
    """
    number = len(texts[0])
    ids: list[NDArray[np.int32]] = []
    types: list[NDArray[np.uint8]] = []
    lengths: list[int] = []
    truncated: list[bool] = []
    for first in range(0, number, TEXTS_AT_A_TIME):
        columns = [list(column[first : first + TEXTS_AT_A_TIME]) for column in texts]
        encoded = tokenizer(*columns, truncation=True, max_length=max_length, padding=False)
        lengths += map(len, encoded["input_ids"])
        ids += [np.array(row, np.int32) for row in encoded["input_ids"]]
        types += [np.array(row, np.uint8) for row in encoded.get("token_type_ids", ())]
        truncated += [bool(one.overflowing) for one in encoded.encodings]
    flat, sizes = np.concatenate(ids), np.array(lengths, np.int64)
    digest = hashlib.blake2b(flat.tobytes() + sizes.tobytes(), digest_size=16)
    for row in types:
        digest.update(row.tobytes())
    return Examples(
        ids=flat,
        types=np.concatenate(types) if types else None,
        lengths=sizes,
        targets=np.zeros(number, np.int64) if targets is None else targets,
        pad=tokenizer.pad_token_id or 0,
        truncated=np.array(truncated, bool),
        fingerprint=digest.hexdigest(),
    )
