"""Submission files against the format that the official GLUE server asks for."""

import zipfile

import numpy as np
import pytest

from hfrep.errors import DataError
from hfrep.tasks import TASKS
from hfrep.tasks.submission import FILES, write_submission, zip_submission

OFFICIAL = {  # names and numbers of rows of the sample submission
    "CoLA.tsv": 1063,
    "SST-2.tsv": 1821,
    "MRPC.tsv": 1725,
    "STS-B.tsv": 1379,
    "QQP.tsv": 390965,
    "MNLI-m.tsv": 9796,
    "MNLI-mm.tsv": 9847,
    "QNLI.tsv": 5463,
    "RTE.tsv": 3000,
    "WNLI.tsv": 146,
    "AX.tsv": 1104,
}


def lines(folder, task, part, predictions):
    write_submission(folder, TASKS[task], part, np.array(predictions))
    return (folder / FILES[task, part].name).read_text().split("\n")


def test_files_are_the_official_ones():
    """The eleven files and the rows that each must have."""
    assert {file.name: file.rows for file in FILES.values()} == OFFICIAL
    assert all(task in TASKS for task, _ in FILES)


@pytest.mark.parametrize(
    ("task", "part", "shown"),
    [
        ("cola", "test", ["0", "1"]),
        ("mrpc", "test", ["0", "1"]),
        ("wnli", "test", ["0", "1"]),
        ("mnli", "test_matched", ["entailment", "neutral"]),
        ("mnli", "test_mismatched", ["entailment", "neutral"]),
        ("mnli", "ax", ["entailment", "neutral"]),
        ("qnli", "test", ["entailment", "not_entailment"]),
        ("rte", "test", ["entailment", "not_entailment"]),
    ],
)
def test_rows(tmp_path, task, part, shown):
    """A header, then the number of each row and its prediction, by name or by number as the server wants it."""
    written = lines(tmp_path, task, part, [1, 0, 1])
    assert written == ["index\tprediction", f"0\t{shown[1]}", f"1\t{shown[0]}", f"2\t{shown[1]}", ""]


def test_similarities_are_clipped_and_rounded(tmp_path):
    """STS-B's values have three decimals and stay between 0 and 5, and none is a negative zero."""
    written = lines(tmp_path, "stsb", "test", np.array([3.14159, -0.2, 5.3, -0.0], np.float32))
    assert written == ["index\tprediction", "0\t3.142", "1\t0.000", "2\t5.000", "3\t0.000", ""]


def test_a_number_of_rows_that_is_not_the_official_one_is_told(tmp_path):
    """The file is written all the same; with all rows nothing is said."""
    zeros = np.zeros(146, np.int64)
    assert write_submission(tmp_path, TASKS["wnli"], "test", zeros) is None
    note = write_submission(tmp_path, TASKS["wnli"], "test", zeros[:-1])
    assert note == "WNLI.tsv: 145 rows, where the official test split has 146"
    assert len((tmp_path / "WNLI.tsv").read_text().splitlines()) == 146


def test_zip_holds_the_files_and_tells_what_is_missing(tmp_path):
    """Files lie at the top of the archive, unchanged; packing again gives the same bytes; the missing are named."""
    lines(tmp_path, "cola", "test", [0, 1])
    lines(tmp_path, "mnli", "ax", [2, 1])
    (tmp_path / "notes.txt").write_text("not for the server")
    path, missing = zip_submission(tmp_path)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["CoLA.tsv", "AX.tsv"]
        assert archive.read("AX.tsv") == (tmp_path / "AX.tsv").read_bytes()
    assert {*missing, "CoLA.tsv", "AX.tsv"} == set(OFFICIAL)
    assert len(missing) == 9
    before = path.read_bytes()
    assert zip_submission(tmp_path)[0].read_bytes() == before


def test_all_files_are_not_told_missing(tmp_path):
    """With all eleven the server has what it asks for."""
    for task, part in FILES:
        lines(tmp_path, task, part, [0.0] if task == "stsb" else [0])
    path, missing = zip_submission(tmp_path)
    assert list(missing) == []
    with zipfile.ZipFile(path) as archive:
        assert set(archive.namelist()) == set(OFFICIAL)


def test_nothing_to_zip_is_told(tmp_path):
    """A folder without any of the files."""
    with pytest.raises(DataError, match=r"expected CoLA.tsv, .* AX.tsv, found none of them; predict a test split"):
        zip_submission(tmp_path)


def test_values_that_are_not_finite_are_refused(tmp_path):
    """A model with broken weights predicts nan, which is no similarity."""
    with pytest.raises(DataError, match=r"STS-B.tsv: expected finite numbers, found nan in row 1; check the weights"):
        write_submission(tmp_path, TASKS["stsb"], "test", np.array([1.0, np.nan], np.float32))


@pytest.mark.parametrize(("task", "part"), [("verb", "test"), ("cola", "ax")])
def test_what_the_server_does_not_know_is_refused(tmp_path, task, part):
    """A task that is none of GLUE's, and a split that a task does not have."""
    with pytest.raises(DataError, match=f"--predict_test: expected one of cola test, .*, found {task} {part}; leave"):
        write_submission(tmp_path, TASKS[task], part, np.zeros(3, np.int64))
