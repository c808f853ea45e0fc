"""Runs of words, by hash and by hand: shingles, the novelty check that they serve, and test items in a corpus."""

import hashlib
import random
import re
import sys
import zlib

import numpy as np
import pytest

from hfrep.data import novelty
from hfrep.data.shingles import Shingles, Words, word_hashes
from hfrep.evaluation.prompting import contamination
from hfrep.evaluation.prompting.contamination import LONGEST, SHORTEST, contaminated

ITEM = "In 1905 the old house near the river was sold to a doctor from another town"
RUN = "1905 the old house near the river was sold to a doctor from"  # 13 words
OTHER = "Nothing of this has ever been said before by anyone who lived here, or has it?"
EXPRESSIONS = {False: re.compile(r"[^\W\d_]+"), True: re.compile(r"[^\W_]+")}


def found(items, *documents):
    return contaminated(items, iter(documents)).touched.tolist()


def naive(items, documents):
    """The rule, in sets of tuples of words."""

    def runs(text, length):
        words = EXPRESSIONS[True].findall(text.lower())
        return {tuple(words[start : start + length]) for start in range(len(words) - length + 1)}

    lengths = [min(LONGEST, len(EXPRESSIONS[True].findall(item.lower()))) for item in items]
    checked = [length >= SHORTEST for length in lengths]
    touched = [
        enough and any(runs(item, length) & runs(document, length) for document in documents)
        for item, length, enough in zip(items, lengths, checked, strict=True)
    ]
    return touched, checked


@pytest.mark.parametrize("digits", [False, True])
def test_words_of_every_character(digits):
    """Each character of Unicode is part of a word or none as the expression has it, in and between words."""
    everything = " ".join(f"A{chr(code)}b{chr(code)}" for code in range(sys.maxunicode + 1))
    expected = EXPRESSIONS[digits].findall(everything.lower())
    assert [word.decode() for word in Words(digits=digits)(everything)] == expected


@pytest.mark.parametrize("length", [1, 8, 13])
def test_shingles_are_the_polynomial(length):
    """A run's number is Σ crc32(word k) · m^(k + 2) modulo 2**64, k from 0; too few words have none."""
    words = [f"w{number * number % 7}".encode() for number in range(20)]
    multiplier = 0x9E3779B97F4A7C15
    expected = [
        sum(zlib.crc32(words[start + k]) * multiplier ** (k + 2) for k in range(length)) % 2**64
        for start in range(len(words) - length + 1)
    ]
    shingles = Shingles(length)(word_hashes(words))
    assert shingles.dtype == np.uint64
    assert shingles.tolist() == expected
    assert Shingles(length)(word_hashes(words[: length - 1])).tolist() == []


def test_novelty_admits_what_it_always_did(monkeypatch):
    """The built-in corpus hangs on it: decisions are those of an implementation in plain integers."""
    monkeypatch.setattr(novelty, "FILTER_BITS", 14)  # so full that its false alarms, too, are compared
    draw = random.Random(3)
    vocabulary = [
        *"the of and a to in is was he for it with as his on be at by".split(),
        "Größe",
        "ΑΣ",
        "a4b",
        "x²",
        "–",
    ]
    texts = [" ".join(draw.choices(vocabulary, k=draw.randint(0, 30))) for _ in range(1500)]
    texts += [text.upper() for text in texts[::9]] + [f"{text}!, {text}" for text in texts[::7]]
    draw.shuffle(texts)
    tested, seen, digests, expected = novelty.Novelty(), set(), set(), []
    for text in texts:
        words = EXPRESSIONS[False].findall(text.lower())
        hashes = [zlib.crc32(word.encode()) * 0x9E3779B97F4A7C15 for word in words]
        places = [
            sum(hashes[start + k] * 0x9E3779B97F4A7C15 ** (k + 1) for k in range(8)) % 2**64 >> 50
            for start in range(len(words) - 7)
        ]
        digest = hashlib.blake2b(" ".join(words).encode(), digest_size=8).digest()
        new = digest not in digests and sum(place in seen for place in places) <= len(places) / 2
        digests.add(digest)
        seen.update(places if new else ())
        expected.append(new)
    assert [tested.admits(text) for text in texts] == expected
    assert 0.2 < np.mean(expected) < 0.8


@pytest.mark.parametrize("document", [f"{RUN} {OTHER}", f"{OTHER} {RUN} {OTHER}", f"{OTHER} {RUN}", RUN])
def test_a_run_is_found_wherever_it_stands(document):
    """At the beginning, in the middle, at the end of a document, or as all of it; in the first document or a later."""
    assert found([ITEM, "A clean " + ITEM[:60]], document) == [True, False]
    assert found([ITEM], "", OTHER, document) == found([ITEM], document, "", OTHER) == [True]


def test_case_punctuation_and_line_breaks_do_not_count():
    """The same words are found however they are set; digits are words, or part of one."""
    document = OTHER + RUN.upper().replace(" ", " –\n\t“") + "_" + OTHER
    assert found([ITEM], document) == [True]
    assert found([ITEM.replace(" ", "... ")], RUN) == [True]
    assert found([ITEM], RUN.replace("1905", "1906")) == [False]
    assert found([ITEM], RUN.replace("1905", "")) == [False]


@pytest.mark.parametrize("place", range(LONGEST))
def test_twelve_of_thirteen_words_are_not_found(place):
    """One word of the run replaced, left out or exchanged with its neighbour is another run."""
    words = RUN.split()
    changed = [*words[:place], "green", *words[place + 1 :]]
    missing = [*words[:place], *words[place + 1 :]]
    exchanged = words.copy()
    exchanged[place - 1], exchanged[place] = exchanged[place], exchanged[place - 1]
    for document in (changed, missing, exchanged):
        assert found([RUN], " ".join(document)) == [False]


def test_a_run_does_not_cross_documents():
    """Cut in two anywhere, it is in neither."""
    words = RUN.split()
    for cut in range(1, len(words)):
        assert found([ITEM], " ".join(words[:cut]), " ".join(words[cut:])) == [False]


@pytest.mark.parametrize("length", range(SHORTEST, LONGEST))
def test_short_items_are_looked_for_whole(length):
    """All of the words in a row are needed, and are enough."""
    words = RUN.split()[:length]
    item = " ".join(words)
    assert found([item], f"{OTHER} {item} {OTHER}") == [True]
    assert found([item], " ".join([*words[:-1], "green"]), " ".join(words[1:])) == [False]


def test_too_short_to_tell():
    """Seven words or none are not checked, whatever the corpus has; eight are."""
    items = ["", "?!", " ".join(RUN.split()[:7]), " ".join(RUN.split()[:8])]
    result = contaminated(items, [RUN, *items])
    assert result.checked.tolist() == [False, False, False, True]
    assert result.touched.tolist() == [False, False, False, True]


def test_nothing_to_compare():
    """No items, none that can be checked, no documents, empty documents: nothing is touched, all is counted."""
    assert contaminated([], [RUN]).touched.tolist() == []
    assert contaminated(["too short"], [RUN]).documents == 1
    assert contaminated([ITEM], []).documents == 0
    assert found([ITEM], "", "?") == [False]


def test_items_with_a_run_in_common_are_all_found():
    """Two equal items, and one that only shares a run, go the same way; one between them stays clean."""
    assert found([ITEM, OTHER, f"{OTHER} {RUN}", ITEM], RUN) == [True, False, True, True]


def test_documents_are_read_once_and_one_at_a_time():
    """None is held when the next one is asked for, so that memory does not grow with the corpus."""
    held = []

    class Document(str):
        def __del__(self):
            held.remove(id(self))

    def documents():
        for _ in range(5):
            document = Document(RUN)
            held.append(id(document))
            yield document
            del document
            assert len(held) <= 1

    result = contaminated([ITEM], documents())
    assert (result.documents, result.touched.tolist()) == (5, [True])


@pytest.mark.parametrize("seed", range(20))
def test_same_as_sets_of_words(monkeypatch, seed):
    """On random text of few words, where runs come close to each other all the time, the rule is kept exactly.

    So it is by a filter that lets much through.
    """
    draw = random.Random(seed)
    monkeypatch.setattr(contamination, "FILTER_BITS", draw.choice([3, 20]))
    vocabulary = ["a", "b", "Ç", "2", "don't", "x_y"][: draw.randint(2, 6)]

    def text(longest):
        return draw.choice([" ", "\n", ", "]).join(draw.choices(vocabulary, k=draw.randint(0, longest)))

    documents = [text(400) for _ in range(12)]
    items = [text(20) for _ in range(80)]
    for document in documents:
        words = document.split()
        start = draw.randint(0, max(0, len(words) - 20))
        items.append(" ".join(words[start : start + draw.randint(5, 20)]) + f" {text(3)}")
    touched, checked = naive(items, documents)
    result = contaminated(items, documents)
    assert result.touched.tolist() == touched
    assert result.checked.tolist() == checked
    assert 0.05 < np.mean(touched) < np.mean(checked) - 0.05


def test_said_in_one_sentence():
    """How many of those checked, out of what, and how many were not checked."""
    items = [ITEM, OTHER, OTHER, *["short"] * 1200]
    assert str(contaminated(items, [RUN, RUN])) == (
        "1 of 3 items (33.3%) share 13 words in a row, or all that they have, with one or more of 2 documents; "
        "1,200 items of fewer than 8 words were not checked"
    )
    assert str(contaminated([], [])).startswith("0 of 0 items (0.0%) share")
