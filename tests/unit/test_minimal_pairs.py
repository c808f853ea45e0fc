"""Minimal pairs: reading, ties, means over paradigms, intervals, and the sentence for each bad input."""

import gzip
import json

import numpy as np
import pytest
from scipy.stats import binomtest

from hfrep.errors import DataError
from hfrep.evaluation.minimal_pairs import MinimalPair, judge, read_minimal_pairs


def judged(*outcomes):
    """Judge pairs given as (paradigm, phenomenon, outcome), where the outcome is +1 right, 0 tie, -1 wrong."""
    pairs = [MinimalPair("good", "bad", paradigm, phenomenon) for paradigm, phenomenon, _ in outcomes]
    return judge(pairs, np.array([float(outcome) for *_, outcome in outcomes]), np.zeros(len(outcomes)))


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with (gzip.open if path.suffix == ".gz" else open)(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def pair(number=0, **fields):
    return {"sentence_good": f"good {number}", "sentence_bad": f"bad {number}"} | fields


def test_aggregation_by_hand():
    """Ties count half; a phenomenon and the whole are means over paradigms, not over pairs."""
    made = judged(
        *[("a", "x", 1)] * 3,
        ("a", "x", -1),  # a: 3/4
        ("b", "x", 0),
        ("b", "x", 1),  # b: 1.5/2
        ("c", "y", -1),  # c: 0/1
        ("d", None, 1),  # d: 1/1
    )
    assert {name: one.accuracy for name, one in made.paradigms.items()} == {"a": 0.75, "b": 0.75, "c": 0, "d": 1}
    assert {name: one.accuracy for name, one in made.phenomena.items()} == {"x": 0.75, "y": 0}
    assert made.overall.accuracy == (0.75 + 0.75 + 0 + 1) / 4
    assert (made.overall.pairs, made.overall.ties) == (8, 1)
    assert (made.phenomena["x"].pairs, made.phenomena["x"].ties) == (6, 1)
    assert made.members == {"x": ["a", "b"], "y": ["c"]}


@pytest.mark.parametrize(("right", "number"), [(0, 5), (5, 5), (7, 10), (613, 1000)])
def test_a_paradigms_interval_is_wilsons(right, number):
    """The limits are scipy's, also where all or none are right; one paradigm's mean has the same."""
    made = judged(*[("a", None, 1 if place < right else -1) for place in range(number)])
    expected = binomtest(right, number).proportion_ci(0.95, method="wilson")
    for one in (made.paradigms["a"], made.overall):
        assert (one.low, one.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(
    ("truth", "number", "draws"),
    [(np.linspace(0.2, 0.98, 12), 25, 1000), (np.full(67, 0.95), 20, 300)],
    ids=["few and different", "many and nearly perfect"],
)
def test_the_interval_of_the_mean_holds_its_promise(truth, number, draws):
    """In draws of pairs from paradigms of known accuracy, about 95 % of the intervals hold the true mean."""
    draw = np.random.default_rng(0)
    paradigms = np.repeat(np.arange(len(truth)), number)
    pairs = [MinimalPair("good", "bad", str(paradigm)) for paradigm in paradigms]
    covered = 0
    for _ in range(draws):
        right = draw.random(len(pairs)) < truth[paradigms]
        overall = judge(pairs, right.astype(float), np.full(len(pairs), 0.5)).overall
        covered += overall.low <= truth.mean() <= overall.high
    assert 0.92 <= covered / draws <= 0.98


def test_the_interval_of_a_mean_by_hand():
    """a: 3 of 4, b: 1 of 2. Smoothed 0.7 and 0.5: variance (0.21/4 + 0.25/2)/4; effective pairs 0.24 over that."""
    overall = judged(*[("a", None, 1)] * 3, ("a", None, -1), ("b", None, 1), ("b", None, -1)).overall
    pairs, z = 0.24 / ((0.21 / 4 + 0.25 / 2) / 4), 1.959964
    middle, half = 0.625 + z * z / (2 * pairs), z * (0.625 * 0.375 / pairs + z * z / (4 * pairs * pairs)) ** 0.5
    limits = [(middle + sign * half) / (1 + z * z / pairs) for sign in (-1, 1)]
    assert [overall.low, overall.high] == pytest.approx(limits, rel=1e-5)


def test_like_paradigms_are_as_good_as_one():
    """Nine paradigms of 40 pairs with one share have the interval of 360 pairs, and one that all get right a width."""
    for outcomes in ([1, -1] * 20, [1] * 40):
        nine = judged(*[(str(paradigm), None, outcome) for paradigm in range(9) for outcome in outcomes]).overall
        one = judged(*[("all", None, outcome) for outcome in outcomes * 9]).overall
        assert (nine.low, nine.high) == pytest.approx((one.low, one.high))
        assert one.low < nine.accuracy


def test_table_names_everything():
    """Phenomena stand over their paradigms, those without one after them, the mean at the end."""
    lines = list(judged(("b", "x", 1), ("c", None, 0), ("a", "x", 1), ("a", "x", -1)).table())
    assert [line.split()[0] for line in lines] == ["accuracy", "x", "b", "a", "c", "mean"]
    assert lines[2].split() == ["b", "100.0%", "20.7%", "…", "100.0%", "1", "0"]
    assert lines[4].split() == ["c", "50.0%", "5.5%", "…", "94.5%", "1", "1"]
    assert lines[-1].startswith("mean of 3 paradigms    66.7%")


def test_a_folder_is_read_in_order(tmp_path):
    """Plain and gzipped files below a folder; the paradigm is UID, or else the file's name, with its folder."""
    write(tmp_path / "b.jsonl", pair(1), pair(2))
    write(tmp_path / "a.jsonl.gz", pair(3, UID="u", linguistics_term="binding"))
    write(tmp_path / "deep" / "c.jsonl", pair(4))
    (tmp_path / "README.txt").write_text("not pairs")
    assert read_minimal_pairs(tmp_path) == [
        MinimalPair("good 3", "bad 3", "u", "binding"),
        MinimalPair("good 1", "bad 1", "b", None),
        MinimalPair("good 2", "bad 2", "b", None),
        MinimalPair("good 4", "bad 4", "deep/c", None),
    ]
    assert [one.paradigm for one in read_minimal_pairs(tmp_path / "b.jsonl")] == ["b", "b"]


def test_max_pairs_is_by_paradigm(tmp_path):
    """The first ones of each paradigm, though paradigms are mixed and spread over files."""
    write(tmp_path / "a.jsonl", *(pair(number, UID=f"u{number % 2}") for number in range(6)))
    write(tmp_path / "b.jsonl", pair(6, UID="u0"), pair(7, UID="u2"))
    kept = read_minimal_pairs(tmp_path, max_pairs=2)
    assert [one.good for one in kept] == ["good 0", "good 1", "good 2", "good 3", "good 7"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"sentence_good": "a", "sentence_bad": "b"}\n\n{"sentence_good": "a", "UID": "u"}\n', "line 3"),
        ('{"sentence_bad": "b"}', "expected a field 'sentence_good' in every line, found only sentence_bad in line 1"),
        ("{}", "found only nothing in line 1; correct the file"),
        ('{"sentence_good": " ", "sentence_bad": "b"}', "expected a sentence in 'sentence_good', found ' ' in line 1"),
        ('{"sentence_good": "a", "sentence_bad": 3}', "expected a sentence in 'sentence_bad', found 3 in line 1"),
        ("not json", "expected a JSON object a line, found something else in line 1; correct the file"),
        ("[1]", "found a list in line 1"),
        ("", "expected a JSON object a line, found an empty file; remove it"),
        ("\n\n", "found an empty file"),
    ],
)
def test_bad_lines_are_told_with_file_and_line(tmp_path, content, words):
    """Each names the file, what was expected, and where in it something else was found."""
    file = tmp_path / "pairs.jsonl"
    file.write_text(content)
    with pytest.raises(DataError) as told:
        read_minimal_pairs(file)
    assert str(told.value).startswith(f"{file}: expected ")
    assert words in str(told.value)


def test_an_empty_file_among_others_is_told(tmp_path):
    """A folder whose second file is empty lacks a paradigm: that is said, not passed over."""
    write(tmp_path / "a.jsonl", pair())
    (tmp_path / "b.jsonl.gz").touch()
    with pytest.raises(DataError, match=r"b\.jsonl\.gz: expected a JSON object a line, found an empty file"):
        read_minimal_pairs(tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere", "nowhere: expected a file or a folder of minimal pairs, found nothing there; correct the path"),
        ("folder", r"folder: expected files ending in .jsonl or .jsonl.gz, found none below it; give another folder"),
        ("folder/pairs.csv", r"pairs.csv: expected a file ending in .jsonl or .jsonl.gz, found .csv; give another"),
    ],
)
def test_no_files_are_told(tmp_path, name, words):
    """Nothing there, nothing of that kind, or another kind of file."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "pairs.csv").write_text("a,b")
    with pytest.raises(DataError, match=words):
        read_minimal_pairs(tmp_path / name)


def test_scores_that_are_not_numbers_are_refused():
    """A model with broken weights gives nan, which no comparison would find right or wrong."""
    pairs = [MinimalPair("a", "b", "p")] * 3
    with pytest.raises(
        DataError, match="the scores: expected finite numbers, found 2 pairs without; check the weights"
    ):
        judge(pairs, np.array([np.nan, 1.0, 1.0]), np.array([0.0, -np.inf, 0.0]))
