"""Reading tasks: labels by name, subsets and caps told, own files understood, and the sentence for each bad input."""

import json

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from hfrep.errors import ConfigError, DataError
from hfrep.settings import parse
from hfrep.tasks import TASKS
from hfrep.tasks.reading import open_task
from hfrep.tasks.settings import TaskSettings

RTE = [("a dog barks", "a dog is loud", 0), ("it rains", "it is dry", 1), ("he ate", "he had food", 0)]
NAMES = ["entailment", "not_entailment"]


def frame(rows, names=("sentence1", "sentence2", "label")):
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def write_jsonl(path, columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_parquet(path, columns, names=None):
    """As `datasets` writes it, with the names of the labels in the schema."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = datasets.Dataset.from_dict(columns)
    if names is not None:
        table = table.cast_column("label", datasets.ClassLabel(names=names))
    table.to_parquet(path)
    return path


def write_rte(folder, **splits):
    """RTE in `folder`, with other columns in some splits."""
    for split in ("train", "validation"):
        write_jsonl(folder / "rte" / f"{split}.jsonl", splits.get(split) or frame(RTE))
    return TaskSettings(task=["rte"], data=str(folder))


def targets(settings, split="train"):
    return open_task("rte", settings).splits[split].targets.tolist()


def test_a_folder_is_read(tmp_path):
    """Texts, targets and the source's numbers of its rows, from parquet, jsonl and tsv alike; tsv knows no quotes."""
    rows = [('"a', "b c", 0), ("d", '"e"', 1)]
    columns = frame(rows) | {"idx": [7, 3]}
    write_parquet(tmp_path / "rte" / "train.parquet", columns, NAMES)
    write_jsonl(tmp_path / "rte" / "validation.jsonl", columns)
    lines = ["\t".join(map(str, row)) for row in [columns, *zip(*columns.values(), strict=True)]]
    (tmp_path / "rte" / "test.tsv").write_text("\r\n".join(lines) + "\r\n")
    data = open_task("rte", TaskSettings(task=["rte"], data=str(tmp_path)), test=True)
    assert data.task is TASKS["rte"]
    assert data.notes == ()
    assert list(data.splits) == ["train", "validation", "test"]
    for split in data.splits.values():
        assert [list(column) for column in split.texts] == [['"a', "d"], ["b c", '"e"']]
        assert (split.targets.dtype, split.targets.tolist()) == (np.int64, [0, 1])
        assert (split.ids.dtype, split.ids.tolist()) == (np.int64, [7, 3])


def test_rows_without_numbers_are_counted(tmp_path):
    """Where the source does not number its rows, or names them, their positions do as well."""
    settings = write_rte(tmp_path, train=frame(RTE) | {"idx": ["x1", "x2", "x3"]})
    assert [split.ids.tolist() for split in open_task("rte", settings).splits.values()] == [[0, 1, 2]] * 2


def test_labels_are_matched_by_name(tmp_path):
    """A file whose names stand in another order is renumbered, and that is said; names as text need no numbers."""
    swapped = frame([(one, two, 1 - label) for one, two, label in RTE])
    settings = write_rte(tmp_path)
    (tmp_path / "rte" / "train.jsonl").unlink()
    write_parquet(tmp_path / "rte" / "train.parquet", swapped, NAMES[::-1])
    assert targets(settings) == [0, 1, 0]
    assert open_task("rte", settings).dataset is None, "files may hold anything"
    assert open_task("rte", settings).notes == (
        "train: labels numbered as not_entailment, entailment there, matched by name",
    )
    named = frame([(one, two, NAMES[label]) for one, two, label in RTE])
    assert targets(write_rte(tmp_path / "named", train=named)) == [0, 1, 0]
    (tmp_path / "named" / "rte" / "train.jsonl").unlink()
    write_parquet(tmp_path / "named" / "rte" / "train.parquet", frame(RTE), ["0", "1"])  # numbers are no names
    assert targets(write_rte(tmp_path / "numbers")) == targets(TaskSettings(task=["rte"], data=str(tmp_path / "named")))


def test_the_hubs_labels_are_matched_by_name(monkeypatch):
    """What `load_dataset` gives is read like a file, its ClassLabel names included; a test split has no labels."""
    asked = []
    features = datasets.Features(
        {
            "premise": datasets.Value("string"),
            "hypothesis": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["contradiction", "entailment", "neutral"]),
            "idx": datasets.Value("int32"),
        }
    )

    def split(labels):
        columns = {"premise": ["p", "q", "r"], "hypothesis": ["a", "b", "c"], "label": labels, "idx": [0, 1, 2]}
        return datasets.Dataset.from_dict(columns, features)

    def load_dataset(name, config):
        asked.append((name, config))
        if config == "ax":
            return datasets.DatasetDict({"test": split([-1, -1, -1])})
        names = ("train", "validation_matched", "validation_mismatched", "test_matched", "test_mismatched")
        return datasets.DatasetDict({name: split([-1] * 3 if "test" in name else [0, 1, 2]) for name in names})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    data = open_task("mnli", TaskSettings(task=["mnli"]), test=True)
    assert asked == [("nyu-mll/glue", "mnli"), ("nyu-mll/glue", "ax")]
    assert list(data.splits)[3:] == ["test_matched", "test_mismatched", "ax"]
    for name, found in data.splits.items():
        assert found.texts == (["p", "q", "r"], ["a", "b", "c"])
        assert found.targets is None if name.startswith(("test", "ax")) else found.targets.tolist() == [2, 0, 1]
    assert len(data.notes) == 3
    assert data.dataset == "nyu-mll/glue:mnli"


def test_the_hub_out_of_reach_is_told():
    """Without network and cache, one sentence that says what else there is."""
    words = "--task cola: expected the dataset nyu-mll/glue, found not in the cache, and the Hub out of reach; give a"
    with pytest.raises(DataError, match=words):
        open_task("cola", TaskSettings(task=["cola"]))


def test_a_missing_diagnostic_set_is_told(tmp_path):
    """It is no part of MNLI: a folder without it serves as well, and the note says what is left out."""
    columns = frame([*RTE, ("x", "y", 2)], ("premise", "hypothesis", "label"))
    for split in ("train", "validation_matched", "validation_mismatched", "test_matched", "test_mismatched"):
        write_jsonl(tmp_path / "mnli" / f"{split}.jsonl", columns)
    settings = TaskSettings(task=["mnli"], data=str(tmp_path))
    data = open_task("mnli", settings, test=True)
    assert "ax" not in data.splits
    assert "the diagnostic set is left out" in data.notes[0]
    write_jsonl(tmp_path / "ax" / "test.jsonl", columns | {"label": [-1] * 4})
    data = open_task("mnli", settings, test=True)
    assert (len(data.splits["ax"]), data.splits["ax"].targets, data.notes) == (4, None, ())


def test_a_subset_is_used_where_there_is_no_more(tmp_path):
    """For any split, and told; the whole split is preferred."""
    settings = write_rte(tmp_path)
    (tmp_path / "rte" / "validation.jsonl").rename(tmp_path / "rte" / "validation_subset.jsonl")
    write_jsonl(tmp_path / "rte" / "train_subset.jsonl", frame(RTE[:2]))
    data = open_task("rte", settings)
    assert [len(split) for split in data.splits.values()] == [3, 3]
    assert data.notes == ("validation: 3 rows of validation_subset, not the whole split",)


def test_caps_choose_the_same_rows_every_time(tmp_path):
    """The rows of a smaller cap are among those of a larger one, from all over the split, and the cap is told."""
    many = frame([(f"a {row}", f"b {row}", row % 2) for row in range(100)])
    write_rte(tmp_path, train=many, validation=many)

    def capped(train, evaluation):
        settings = TaskSettings(
            task=["rte"], data=str(tmp_path), max_train_examples=train, max_eval_examples=evaluation
        )
        return open_task("rte", settings)

    small, large = capped(10, 5), capped(40, None)
    assert set(small.splits["train"].ids) < set(large.splits["train"].ids)
    assert [len(split) for split in small.splits.values()] == [10, 5]
    assert np.ptp(small.splits["train"].ids) > 50
    assert small.splits["train"].texts[0] == [f"a {row}" for row in small.splits["train"].ids]
    assert small.notes == (
        "train: 10 of 100 rows, chosen by a hash of their position",
        "validation: 5 of 100 rows, chosen by a hash of their position",
    )
    assert capped(100, 100).notes == ()
    assert small.fingerprint == capped(10, 5).fingerprint != large.fingerprint


def test_fingerprint_is_of_texts_and_targets(tmp_path):
    """One word or one label in any split makes another, the format of the file does not."""
    seen = [open_task("rte", write_rte(tmp_path / "0")).fingerprint]
    for number, row in enumerate([("a dog barks", "a dog is loud", 1), ("a dog bark", "a dog is loud", 0)], 1):
        settings = write_rte(tmp_path / str(number), validation=frame([row, *RTE[1:]]))
        seen.append(open_task("rte", settings).fingerprint)
    assert len(set(seen)) == 3
    settings = write_rte(tmp_path / "0")
    (tmp_path / "0" / "rte" / "train.jsonl").unlink()
    write_parquet(tmp_path / "0" / "rte" / "train.parquet", frame(RTE), NAMES)
    assert open_task("rte", settings).fingerprint == seen[0]


def test_test_splits_may_have_no_labels(tmp_path):
    """All -1, all null, or no such column; where there are some, they are read."""
    for number, column in enumerate([{"label": [-1] * 3}, {"label": [None] * 3}, {}, {"label": [1, 0, 1]}]):
        settings = write_rte(tmp_path / str(number))
        texts = {name: values for name, values in frame(RTE).items() if name != "label"}
        write_jsonl(tmp_path / str(number) / "rte" / "test.jsonl", texts | column)
        found = open_task("rte", settings, test=True).splits["test"].targets
        assert found is None if number < 3 else found.tolist() == [1, 0, 1]


def test_quoras_empty_questions_are_let_be(tmp_path):
    """The official training file of QQP has some, so that it cannot be refused for them."""
    rows = [("how", "", 0), ("what", "which", 1)]
    for split in ("train", "validation"):
        write_jsonl(tmp_path / "qqp" / f"{split}.jsonl", frame(rows, ("question1", "question2", "label")))
    data = open_task("qqp", TaskSettings(task=["qqp"], data=str(tmp_path)))
    assert data.splits["train"].texts[1] == ["", "which"]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"sentence2": ["x"] * 3, "label": [0, 1, 0]}, "a column 'sentence1', found sentence2, label; rename one"),
        ({"sentence": ["x"] * 3, "label": [0, 1, 0]}, "a column 'sentence1', found sentence, label; rename one"),
        ({"label": [0, 1, 2]}, "one of the labels entailment, not_entailment in column 'label', found 2 in row 3"),
        ({"label": ["entailment", "maybe", "maybe"]}, "one of the labels .*, found 'maybe' in row 2; correct the file"),
        ({"label": [0, 1, 0.5]}, "one of the labels .*, found 0.5 in row 3"),
        ({"label": [0, [1], 0]}, r"one of the labels .*, found \[1\] in row 2"),
        ({"label": [0, -1, 1]}, r"a label in column 'label', found none \(-1\) in row 2"),
        ({"label": [0, 1, None]}, r"a label in column 'label', found none \(None\) in row 3"),
        ({"label": [-1, -1, -1]}, "labels in column 'label', found none; correct the file"),
        ({"label": [1, 1, 1]}, "rte train: expected examples of two classes or more, found only 'not_entailment' in 3"),
        ({"sentence1": ["a", " ", "b"]}, "text in column 'sentence1', found none in row 2"),
        ({"sentence2": ["a", "b", None]}, "text in column 'sentence2', found none in row 3"),
        ({"sentence2": ["a", "b", 3]}, "text in column 'sentence2', found 3 in row 3"),
        ({"sentence2": ["a", "\ud800", "b"]}, "UTF-8 in column 'sentence2', found half of a character in row 2"),
    ],
)
def test_bad_rows_are_told(tmp_path, columns, expected):
    """Each names the file, what was expected of which column, and the row, in either split."""
    bad = columns if len(columns) > 1 else frame(RTE) | columns
    with pytest.raises(DataError, match=expected) as told:
        open_task("rte", write_rte(tmp_path, train=bad))
    assert "train" in str(told.value).split(": expected")[0]
    if "two classes" not in expected:
        with pytest.raises(DataError, match=f"validation.jsonl: expected {expected}"):
            open_task("rte", write_rte(tmp_path, validation=bad))


def test_a_named_label_that_the_task_does_not_have(tmp_path):
    """The number is shown with the name that the file has for it."""
    settings = write_rte(tmp_path)
    (tmp_path / "rte" / "validation.jsonl").unlink()
    write_parquet(tmp_path / "rte" / "validation.parquet", frame(RTE), ["entailment", "neutral"])
    with pytest.raises(
        DataError, match="labels entailment, not_entailment in column 'label', found 1 = 'neutral' in row 2"
    ):
        open_task("rte", settings)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["low", "high"], "numbers in column 'label', since the task is a regression, found 'low' in row 1"),
        ([0.5, float("nan")], "a finite number in column 'label', found nan in row 2"),
        ([0.5, float("inf")], "a finite number in column 'label', found inf in row 2"),
        ([0.5, None], "a finite number in column 'label', found None in row 2"),
        ([0.5, True], "a finite number in column 'label', found True in row 2"),
        ([None, None], "labels in column 'label', found none"),
    ],
)
def test_bad_values_are_told(tmp_path, labels, expected):
    """A regression needs finite numbers in every row."""
    texts = {"sentence1": ["a", "b"], "sentence2": ["c", "d"]}
    write_jsonl(tmp_path / "stsb" / "train.jsonl", texts | {"label": labels})
    with pytest.raises(DataError, match=expected):
        open_task("stsb", TaskSettings(task=["stsb"], data=str(tmp_path)))


def test_values_are_float32(tmp_path):
    """Also where all of them are whole."""
    for split, labels in (("train", [0, 5]), ("validation", [2.5, 1])):
        write_jsonl(tmp_path / "stsb" / f"{split}.jsonl", frame(RTE[:2]) | {"label": labels})
    data = open_task("stsb", TaskSettings(task=["stsb"], data=str(tmp_path)))
    assert {str(split.targets.dtype) for split in data.splits.values()} == {"float32"}
    assert data.splits["validation"].targets.tolist() == [2.5, 1.0]


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("colla", "--task: expected all, cola, .* similarity, moods, or a folder .*, found colla; did you mean cola"),
        ("cola", "expected a folder 'cola', found moods, rte; correct --data or --task"),
        ("sst2", "expected a split 'train', found dev; add it, or give another folder or file"),
    ],
)
def test_what_is_not_there_is_told(tmp_path, task, words):
    """A task that is none, one that the folder lacks, and a split that it lacks: with what there is."""
    write_rte(tmp_path)
    (tmp_path / "moods").mkdir()
    if task == "sst2":
        write_jsonl(tmp_path / "sst2" / "dev.jsonl", {"sentence": ["a"], "label": [0]})
    with pytest.raises(DataError, match=words):
        open_task(task, TaskSettings(task=[task], data=str(tmp_path)))


def test_a_missing_folder_and_a_split_twice_are_told(tmp_path):
    """The folder that --data names, and two files for one split."""
    with pytest.raises(DataError, match="nowhere: expected a folder, found nothing there; correct --data"):
        open_task("cola", TaskSettings(task=["cola"], data=str(tmp_path / "nowhere")))
    settings = write_rte(tmp_path)
    (tmp_path / "rte" / "train.tsv").touch()
    with pytest.raises(DataError, match=r"expected one file for a split, found train.jsonl and train.tsv; remove one"):
        open_task("rte", settings)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("train.tsv", "", "expected labelled rows, found none"),
        ("train.tsv", "sentence1\tsentence2\tlabel\n", "expected labelled rows, found none"),
        ("train.tsv", "sentence1\tsentence1\n", "expected a header that names each column once, found sentence1, sent"),
        ("train.tsv", "sentence1\tsentence2\tlabel\na\tb\n", "expected 3 fields in a row, found 2 in line 2"),
        ("train.tsv", "sentence1\tsentence2\tlabel\na\rc\tb\t0\n", "expected rows of fields, found new-line"),
        ("train.jsonl", "\n", "expected labelled rows, found none"),
        ("train.jsonl", "[]\n", "expected a JSON object a line, found a list in line 1"),
        ("train.parquet", "", "expected a parquet file, found "),
    ],
)
def test_bad_files_are_told(tmp_path, name, content, words):
    """Empty ones, and those that are not what their names say."""
    settings = write_rte(tmp_path)
    (tmp_path / "rte" / "train.jsonl").unlink()
    (tmp_path / "rte" / name).write_text(content)
    with pytest.raises(DataError, match=words) as told:
        open_task("rte", settings)
    assert str(told.value).startswith(str(tmp_path / "rte" / name))


def own(folder, columns, validation=None, **settings):
    """A task of one's own from files."""
    files = {
        "train_file": str(write_jsonl(folder / "train.jsonl", columns)),
        "validation_file": str(write_jsonl(folder / "validation.jsonl", validation or columns)),
    }
    settings = TaskSettings(**files, **settings)
    (name,) = settings.names
    return open_task(name, settings)


@pytest.mark.parametrize(
    ("labels", "names", "metrics", "expected"),
    [
        (["sad", "glad", "sad"], ("glad", "sad"), ("accuracy",), [1, 0, 1]),
        ([10, 2, 2], ("2", "10"), ("accuracy",), [1, 0, 0]),
        ([True, False, True], ("False", "True"), ("accuracy",), [1, 0, 1]),
        ([1.5, 2, 0.5], None, ("pearson", "spearman"), [1.5, 2.0, 0.5]),
    ],
    ids=["names", "numbers", "truth", "values"],
)
def test_an_own_task_is_inferred(tmp_path, labels, names, metrics, expected):
    """Labels are what is there, sorted; numbers with a fraction are values."""
    data = own(tmp_path, {"text": ["a", "b", "c"], "label": labels, "idx": [5, 6, 7]})
    task = data.task
    assert (task.name, task.text_columns, task.labels, task.metrics) == ("train", ("text",), names, metrics)
    assert data.splits["validation"].targets.tolist() == expected


def test_an_own_task_is_as_it_is_named(tmp_path):
    """Name, columns and metrics are the user's; whole numbers become values where the metric is a correlation."""
    columns = {"a": ["x", "y"], "b": ["z", "w"], "c": ["v", "u"], "score": [1, 2]}
    data = own(tmp_path, columns, task=["mine"], text_columns=["c", "a"], label_column="score", metrics=["spearman"])
    task = data.task
    assert (task.name, task.text_columns, task.labels, task.metrics) == ("mine", ("c", "a"), None, ("spearman",))
    assert data.splits["train"].texts == (["v", "u"], ["x", "y"])
    assert data.splits["train"].targets.dtype == np.float32


def test_own_files_of_other_formats(tmp_path):
    """Quotes hold commas and lines in csv; parquet knows names of labels; a test file may have no labels."""
    (tmp_path / "t.csv").write_text('text,label\n"a, ""b""\nc",yes\nd,no\n')
    write_parquet(tmp_path / "v.parquet", {"text": ["a", "b"], "label": [0, 1]}, ["yes", "no"])
    (tmp_path / "p.tsv").write_text("text\tlabel\na\t\nb\t\n")
    files = {"train_file": "t.csv", "validation_file": "v.parquet", "test_file": "p.tsv"}
    settings = TaskSettings(**{name: str(tmp_path / file) for name, file in files.items()})
    data = open_task("t", settings, test=True)
    assert data.task.labels == ("no", "yes")
    assert data.splits["train"].texts == (['a, "b"\nc', "d"],)
    assert [split.targets if split.targets is None else split.targets.tolist() for split in data.splits.values()] == [
        [1, 0],
        [1, 0],
        None,
    ]
    by_name = open_task("v", TaskSettings(train_file=settings.validation_file, validation_file=settings.train_file))
    assert by_name.task.labels == ("yes", "no")


@pytest.mark.parametrize(
    ("content", "labels", "dtype"),
    [
        ("a\t0\nb\t1\n", ("0", "1"), np.int64),
        ("a\t0.5\nb\t1\n", None, np.float32),
        ("a\t1\nb\tx\n", ("1", "x"), np.int64),
    ],
    ids=["numbers", "values", "names"],
)
def test_a_table_of_text_has_numbers_where_all_are(tmp_path, content, labels, dtype):
    """A .tsv file has no types: a column is of numbers where every row is one."""
    (tmp_path / "mine.tsv").write_text("text\tlabel\n" + content)
    data = open_task("mine", TaskSettings(train_file=f"{tmp_path}/mine.tsv", validation_file=f"{tmp_path}/mine.tsv"))
    assert (data.task.labels, data.splits["train"].targets.dtype) == (labels, dtype)


def test_an_own_folder_beside_glue(tmp_path):
    """A name that is no task's may be a folder's in --data."""
    for split in ("train", "validation"):
        write_jsonl(tmp_path / "moods" / f"{split}.jsonl", {"text": ["a", "b"], "label": ["glad", "sad"]})
    assert open_task("moods", TaskSettings(task=["moods"], data=str(tmp_path))).task.labels == ("glad", "sad")


@pytest.mark.parametrize(
    ("columns", "settings", "words"),
    [
        ({"text": ["a", "b"], "mood": [0, 1]}, {}, "expected a column 'label', found text, mood; rename one of these"),
        (
            {"text": ["a", "b"], "label": ["x", "y"]},
            {"metrics": ["pearson"]},
            "since the task is a regression, found 'x'",
        ),
        (
            {"text": ["a", "b"], "label": [[1], [2]]},
            {},
            r"names or whole numbers of labels .*, found \[1\] in row 1; name",
        ),
        ({"label": ["x", "y"]}, {}, "one column of text, or two for pairs, found none; name them with --text_columns"),
        ({"a": ["x"], "b": ["y"], "c": ["z"], "label": [0]}, {}, "found a, b, c; name them with --text_columns"),
    ],
)
def test_own_files_that_cannot_be_understood(tmp_path, columns, settings, words):
    """What is missing, or is not what was asked for, with the setting that helps."""
    with pytest.raises(DataError, match=words):
        own(tmp_path, columns, **settings)


def test_a_label_seen_in_validation_only(tmp_path):
    """The names are those of the training split."""
    with pytest.raises(DataError, match="one of the labels x, y in column 'label', found 'z' in row 2"):
        own(tmp_path, {"t": ["a", "b"], "label": ["x", "y"]}, {"t": ["a", "b"], "label": ["x", "z"]})


@pytest.mark.parametrize(
    ("labels", "metric", "words"),
    [
        (
            [0.5, 1.5],
            "accuracy",
            "--metrics: expected pearson or spearman, since 'label' holds numbers, found accuracy",
        ),
        (
            [0, 1, 2],
            "f1",
            "--metrics: expected accuracy or matthews, since f1 is of two labels and here are 3, found f1",
        ),
    ],
)
def test_metrics_for_something_else(tmp_path, labels, metric, words):
    """Shares of right labels are not for values, and F1 is of two labels."""
    with pytest.raises(ConfigError, match=words):
        own(tmp_path, {"t": list("abc")[: len(labels)], "label": labels}, metrics=[metric])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere.tsv", "expected a file, found nothing there"),
        ("x.txt", "expected a file ending in .parquet, .jsonl, "),
    ],
)
def test_own_files_that_are_none(tmp_path, name, words):
    """Nothing there, or another format."""
    (tmp_path / "x.txt").touch()
    settings = TaskSettings(train_file=str(tmp_path / name), validation_file=str(tmp_path / name))
    with pytest.raises(DataError, match=words):
        open_task(settings.names[0], settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"train_file": "a"}, "--validation_file: expected both .*, found --train_file alone; give the other file too"),
        ({"test_file": "a"}, "--train_file and --validation_file: expected both .*, found --test_file alone"),
        ({"train_file": "a", "validation_file": "b", "data": "c"}, "--data: expected this or --train_file, found both"),
        (
            {"train_file": "a", "validation_file": "b", "task": ["cola"]},
            "--task: expected one name of your own .*, found c",
        ),
        (
            {"data": "c"},
            "--task: expected the tasks to read from --data, found --data alone; name tasks, or give --task all",
        ),
        ({"task": []}, "--task: expected one name or more, found none; name some"),
        ({"text_columns": ["a", "b", "c"]}, "--text_columns: expected one column, or two, found a, b, c"),
        ({"text_columns": ["a", "a"]}, "--text_columns: expected one column, or two, found a, a"),
        (
            {"metrics": ["accuracy", "pearson"]},
            "--metrics: expected some of accuracy, .*, or of pearson, spearman, found",
        ),
        ({"metrics": ["bleu"]}, "--metrics: expected some of .*, found bleu; give such as go together"),
        ({"max_train_examples": 0}, "--max_train_examples: expected 1 or more, found 0; raise it"),
        ({"max_eval_examples": -1}, "--max_eval_examples: expected 1 or more, found -1; raise it"),
    ],
)
def test_settings_that_do_not_go_together(settings, words):
    """Told before anything is read."""
    with pytest.raises(ConfigError, match=words):
        TaskSettings(**settings)


def test_names_of_tasks():
    """All nine, each once, in the order asked for; the stock spellings mean the same."""
    assert TaskSettings(task=["rte", "all"]).names == ["rte", *[name for name in list(TASKS)[:9] if name != "rte"]]
    flags = ["--task_name", "cola", "--data", "d", "--max_train_samples", "5", "--max_eval_samples", "6"]
    (settings,) = parse(TaskSettings, argv=flags)
    assert (settings.names, settings.max_train_examples, settings.max_eval_examples) == (["cola"], 5, 6)


def test_large_strings_and_dictionaries_of_parquet(tmp_path):
    """Other writers' types of text and of categories are read as what they say."""
    table = pa.table(
        {"sentence1": pa.array(["a", "b"], pa.large_string()), "sentence2": ["c", "d"]}
        | {"label": pa.array(["entailment", "not_entailment"]).dictionary_encode()}
    )
    write_rte(tmp_path)
    (tmp_path / "rte" / "train.jsonl").unlink()
    parquet.write_table(table, tmp_path / "rte" / "train.parquet")
    assert targets(TaskSettings(task=["rte"], data=str(tmp_path))) == [0, 1]
