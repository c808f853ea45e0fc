"""Labelled texts as rows: what the tokenizer gives, padded only as far as a batch needs."""

import numpy as np
import pytest
from conftest import sentences

from hfrep.data.examples import encode

TEXTS = sentences(30, seed=1)
OTHERS = sentences(30, seed=2)


def test_rows_are_what_the_tokenizer_gives(wordpiece):
    """Taken in any order, tokens and mask of a pair are those of the tokenizer itself, padded on the right."""
    examples = encode(wordpiece, [TEXTS, OTHERS], np.arange(30), max_length=64)
    taken = examples.take(np.array([7, 3, 29]))
    theirs = wordpiece(
        [TEXTS[n] for n in (7, 3, 29)], [OTHERS[n] for n in (7, 3, 29)], padding=True, return_tensors="np"
    )
    assert np.array_equal(taken["input_ids"], theirs["input_ids"])
    assert np.array_equal(taken["attention_mask"], theirs["attention_mask"])
    assert taken["targets"].tolist() == [7, 3, 29]


def test_token_types_are_kept_where_the_tokenizer_gives_them(wordpiece):
    """A tokenizer that tells the two texts of a pair apart has that in its rows, with zeros in the padding."""
    wordpiece.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    try:
        taken = encode(wordpiece, [TEXTS, OTHERS], None, max_length=64).take(np.arange(5))
        theirs = wordpiece(TEXTS[:5], OTHERS[:5], padding=True, return_tensors="np")
    finally:
        wordpiece.model_input_names = ["input_ids", "attention_mask"]
    assert np.array_equal(taken["token_type_ids"], theirs["token_type_ids"])


def test_long_texts_are_cut_and_counted(wordpiece):
    """No row is longer than asked for, and how many were cut is known."""
    whole = encode(wordpiece, [TEXTS], None, max_length=512)
    cut = encode(wordpiece, [TEXTS], None, max_length=12)
    assert not whole.truncated.any()
    assert cut.lengths.max() == 12
    assert cut.truncated.any()
    assert np.array_equal(cut.truncated, whole.lengths > 12)


def test_a_part_has_the_rows_of_the_whole(wordpiece):
    """Some examples, taken out, are what they are in the whole, and another choice has another fingerprint."""
    whole = encode(wordpiece, [TEXTS, OTHERS], np.arange(30), max_length=64)
    rows = np.array([2, 3, 17, 29])
    part = whole.part(rows)
    taken, theirs = part.take(np.array([3, 0, 2])), whole.take(rows[[3, 0, 2]])
    assert all(np.array_equal(taken[name], theirs[name]) for name in theirs)
    assert len(part) == 4
    assert part.fingerprint not in (whole.fingerprint, whole.part(rows[:3]).fingerprint)


@pytest.mark.parametrize("change", ["text", "target"])
def test_digests_tell_texts_and_targets_apart(wordpiece, change):
    """Another text has another fingerprint, another target another digest, and the same ones the same."""
    targets = np.zeros(30, np.int64)
    first, again = (encode(wordpiece, [TEXTS], targets, max_length=64) for _ in range(2))
    texts = [*TEXTS[:-1], OTHERS[0]] if change == "text" else TEXTS
    other = encode(wordpiece, [texts], targets if change == "text" else targets + 1, max_length=64)
    assert (first.fingerprint, first.targets_digest) == (again.fingerprint, again.targets_digest)
    assert (first.fingerprint != other.fingerprint) == (change == "text")
    assert (first.targets_digest != other.targets_digest) == (change == "target")
