"""Files that the official GLUE server takes (https://gluebenchmark.com/faq): one for each test split, in one zip.

Each has the header ``index``, ``prediction`` and a row for each row of the test file, in its order. MNLI, QNLI, RTE and
the diagnostic set AX, which a model of MNLI predicts, are answered by the names of their labels, other classes by 0 and
1, STS-B by a number from 0 to 5.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hfrep.errors import DataError
from hfrep.tasks.base import Targets, Task
from hfrep.tasks.glue import DIAGNOSTIC

ZIP_FILE = "submission.zip"
HIGHEST_SIMILARITY = 5.0  # of STS-B; the lowest is 0
_BEGINNING = (1980, 1, 1, 0, 0, 0)  # of the time that zip files know: the same predictions make the same bytes


@dataclass(frozen=True)
class SubmissionFile:
    """What the server knows a test split by.

    Attributes:
        rows: of the official test split.
        by_name: its predictions are names of labels, not their numbers.
    """

    name: str
    rows: int
    by_name: bool = False


FILES = {
    ("cola", "test"): SubmissionFile("CoLA.tsv", 1063),
    ("sst2", "test"): SubmissionFile("SST-2.tsv", 1821),
    ("mrpc", "test"): SubmissionFile("MRPC.tsv", 1725),
    ("stsb", "test"): SubmissionFile("STS-B.tsv", 1379),
    ("qqp", "test"): SubmissionFile("QQP.tsv", 390965),
    ("mnli", "test_matched"): SubmissionFile("MNLI-m.tsv", 9796, by_name=True),
    ("mnli", "test_mismatched"): SubmissionFile("MNLI-mm.tsv", 9847, by_name=True),
    ("qnli", "test"): SubmissionFile("QNLI.tsv", 5463, by_name=True),
    ("rte", "test"): SubmissionFile("RTE.tsv", 3000, by_name=True),
    ("wnli", "test"): SubmissionFile("WNLI.tsv", 146),
    ("mnli", DIAGNOSTIC): SubmissionFile("AX.tsv", 1104, by_name=True),
}


def submission_file(task: Task, part: str) -> SubmissionFile:
    """What the server knows the test split `part` of `task` by.

    Raises:
        DataError: the task is none of GLUE's.
    """
    if (task.name, part) not in FILES:
        known = ", ".join(f"{name} {split}" for name, split in FILES)
        found = f"{task.name} {part}"
        raise DataError(where="--predict_test", expected=f"one of {known}", found=found, do="leave that task out")
    return FILES[task.name, part]


def write_submission(folder: Path, task: Task, part: str, predictions: Targets) -> str | None:
    """Write the file for a test split into `folder`.

    Args:
        part: ``test``, ``test_matched``, ``test_mismatched`` or ``ax``.
        predictions: numbers of labels, int64 [n], or values, float32 [n], in the order of the rows.

    Returns:
        A sentence where the number of rows is not the official one, which the server would refuse.

    Raises:
        DataError: the task is none of GLUE's, or a value is no finite number.
    """
    file = submission_file(task, part)
    lines = [f"{index}\t{shown}\n" for index, shown in enumerate(_shown(task, file, predictions))]
    (folder / file.name).write_text("".join(["index\tprediction\n", *lines]), encoding="utf-8", newline="\n")
    if len(predictions) == file.rows:
        return None
    return f"{file.name}: {len(predictions):,} rows, where the official test split has {file.rows:,}"


def zip_submission(folder: Path) -> tuple[Path, Sequence[str]]:
    """Pack what `write_submission` has left in `folder`.

    Returns:
        The zip file in that folder, and the names of the files that are missing: the server takes only all of them.

    Raises:
        DataError: there are none.
    """
    names = [file.name for file in FILES.values()]
    there = [name for name in names if (folder / name).is_file()]
    if not there:
        raise DataError(
            where=str(folder), expected=", ".join(names), found="none of them", do="predict a test split first"
        )
    with zipfile.ZipFile(folder / ZIP_FILE, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in there:
            entry = zipfile.ZipInfo(name, _BEGINNING)
            archive.writestr(entry, (folder / name).read_bytes(), zipfile.ZIP_DEFLATED)
    return folder / ZIP_FILE, [name for name in names if name not in there]


def _shown(task: Task, file: SubmissionFile, predictions: Targets) -> list[str]:
    if task.labels is None:
        if not np.isfinite(predictions).all():
            row = int(np.argmin(np.isfinite(predictions)))
            found = f"{predictions[row]} in row {row}"
            raise DataError(
                where=file.name, expected="finite numbers", found=found, do="check the weights of the model"
            )
        return [f"{min(max(0.0, value), HIGHEST_SIMILARITY):.3f}" for value in predictions.tolist()]
    labels = task.labels
    return [labels[number] if file.by_name else str(number) for number in predictions.tolist()]
