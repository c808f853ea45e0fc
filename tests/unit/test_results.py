"""The tables, the JSON and the plot of a run say its numbers."""

import json

import matplotlib.image
import numpy as np
import pytest
from matplotlib import pyplot as plt

from hfrep.evaluation.results import Cell, Results, as_json, compare, markdown_table, plot_results, text_table
from hfrep.evaluation.task_scores import Part, TaskScores, average

PROTOCOL = ["Seeds 0 and 1.", "The learning rate was picked on a held-out part of train."]


def scores(*rights, metrics=("accuracy",)):
    """Of 40 items as many are right as each seed's number in `rights`; references are 1 and 0 in turn."""
    references = np.arange(40) % 2
    right = np.arange(40) < np.array(rights)[:, None]
    return TaskScores(metrics, (Part(np.where(right, references, 1 - references), references),))


def cell(task, row, *rights, metrics=("accuracy",), trained=1200, **facts):
    given = {"trained": trained, "parameters": 40_000, "minutes": 1.5, "memory": 512_300_000, "note": ""} | facts
    return Cell(task, row, scores(*rights, metrics=metrics), **given)


@pytest.fixture
def results():
    """Two tasks; `full` and the majority class have both, `lora` has one."""
    cells = [
        cell("SST-2", "full", 32, 36, trained=40_000, note="learning rate 1e-4"),
        cell("MRPC", "full", 40, 40, trained=40_000, metrics=("accuracy", "f1"), memory=None),
        cell("SST-2", "lora", 30, 30),
        cell("SST-2", "majority class", 20, trained=0, parameters=0, minutes=0.0, memory=None),
        cell("MRPC", "majority class", 24, trained=0, parameters=0, minutes=0.0, memory=None),
    ]
    return Results(cells, [compare(cells, "full", "lora")], PROTOCOL)


def fields(line):
    """What stands in a line, between two blanks or more."""
    return [field for field in line.replace("  ", "\t").split("\t") if field.strip()]


def test_the_first_block_is_rows_by_tasks(results):
    """Mean ± deviation in points, no deviation for one seed; the average stands where a row has all tasks."""
    heading, header, *rows = text_table(results)[: 2 + len(results.rows)]
    assert heading == (
        "points, mean ± standard deviation over seeds; "
        "average unweighted, as in GLUE: metrics within a task, then its splits, then tasks:"
    )
    assert header.split() == ["SST-2", "MRPC", "average"]
    assert [line.split("  ")[0] for line in rows] == ["full", "lora", "majority class"]
    found = [[field.strip() for field in fields(line)] for line in rows]
    assert found == [
        ["full", "85.0 ± 7.1", "100.0 ± 0.0", "92.5"],
        ["lora", "75.0 ± 0.0", "–", "–"],
        ["majority class", "50.0", "60.0", "55.0"],
    ]
    assert len({len(line) for line in (header, *rows)}) == 1, "columns are aligned"


def test_the_second_block_has_every_cell(results):
    """Task by task: score, interval, seeds, trained parameters and share, minutes, memory, metrics, note."""
    lines = text_table(results)
    block = lines[lines.index("each score:") + 2 :]
    low, high = (f"{100 * limit:.1f}" for limit in results.cells[0].scores.interval())
    found = [field.strip() for field in fields(block[0])]
    expected = ["SST-2", "full", "85.0", f"{low} … {high}", "2", "40,000", "100 %", "1.50", "512 MB", "accuracy"]
    assert found == [*expected, "learning rate 1e-4"]
    assert [tuple(field.strip() for field in fields(line))[:2] for line in block[:7]] == [
        ("SST-2", "full"),
        ("SST-2", "lora"),
        ("SST-2", "majority class"),
        ("MRPC", "full"),
        ("MRPC", "majority class"),
        ("average", "full"),
        ("average", "majority class"),
    ]
    assert "1,200" in block[1]
    assert "3 %" in block[1]
    assert block[2].split()[-6:] == ["0", "0", "%", "0.00", "–", "accuracy"]
    assert block[3].endswith("–  accuracy 100.0, f1 100.0")


def test_differences_and_protocol_come_last(results):
    """A comparison is told with its sign and limits on the tasks that both rows have, then the protocol as it is."""
    lines = text_table(results)
    at = lines.index("differences in points, drawn on the same items and seeds:")
    words = fields(lines[at + 2])
    assert [word.strip() for word in words[:3]] == ["full minus lora", "SST-2", "+10.0"]
    assert words[3].strip().startswith("+")
    assert lines[at + 3 :] == ["", *PROTOCOL], "one task has no average of its own"


def test_a_comparison_of_two_tasks_has_an_average():
    """Differences are averaged over the tasks that both rows have, and only over them."""
    cells = [cell(task, row, right) for task, row, right in [("A", "x", 30), ("B", "x", 30), ("A", "y", 34)]]
    cells += [cell("B", "y", 22), cell("C", "y", 40)]
    found = compare(cells, "x", "y")
    assert list(found.tasks) == ["A", "B"]
    assert [one.value for one in found.tasks.values()] == pytest.approx([-0.1, 0.2])
    assert found.average.value == pytest.approx(0.05)
    lines = text_table(Results(cells, [found], []))
    assert "-10.0" in lines[-4]
    assert lines[-2].split()[:5] == ["x", "minus", "y", "average", "+5.0"]


def test_one_task_has_no_average():
    """An average of one task would say the same twice."""
    one = Results([cell("CoLA", "full", 30)], [], [])
    assert not one.averages
    assert not any("average" in line for line in text_table(one))


def test_a_score_just_below_zero_has_no_sign():
    """Matthews' correlation of -0.0004 is 0.0 in points, not -0.0."""
    references = np.array([0] * 1001 + [1] * 1000)
    predictions = np.array([0] * 500 + [1] * 501 + [0] * 500 + [1] * 500)[None]
    cola = TaskScores(("matthews",), (Part(predictions, references),))
    assert -0.0005 < cola.mean < 0
    assert text_table(Results([Cell("CoLA", "full", cola, 1, 1, 0, None)], [], []))[2].split() == ["full", "0.0"]


def test_markdown_has_the_same_fields(results):
    """Each table line of the text is one of Markdown, bars in names do not end a cell, and the protocol is a list."""
    text = markdown_table(results)
    blocks = [block for block in text.split("\n\n") if block.startswith("|")]
    assert [block.count("\n") for block in blocks] == [4, 8, 2]
    assert blocks[0].splitlines()[:3] == [
        "|  | SST-2 | MRPC | average |",
        "| :-- | --: | --: | --: |",
        "| full | 85.0 ± 7.1 | 100.0 ± 0.0 | 92.5 |",
    ]
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1
    assert text.endswith(f"\n\n- {PROTOCOL[0]}\n- {PROTOCOL[1]}\n")
    assert "Points, mean ± standard deviation over seeds" in text
    barred = markdown_table(Results([cell("a|b", "full", 30)], [], []))
    assert "|  | a\\|b |" in barred


def test_json_round_trip(results):
    """All of it survives, with per-seed scores, means of metrics, limits, and the convention of the average."""
    made = as_json(results)
    read = json.loads(json.dumps(made, allow_nan=False))
    assert read == made
    assert (read["tasks"], read["rows"]) == (["SST-2", "MRPC"], ["full", "lora", "majority class"])
    first, second = read["cells"][:2]
    low, high = results.cells[0].scores.interval()
    assert first["by_seed"] == [0.8, 0.9]
    assert (first["mean"], first["low"], first["high"]) == (pytest.approx(0.85), low, high)
    assert first["deviation"] == pytest.approx(0.1 / np.sqrt(2))
    assert {name: first[name] for name in ("trained", "parameters", "minutes", "memory", "note", "examples")} == {
        "trained": 40_000,
        "parameters": 40_000,
        "minutes": 1.5,
        "memory": 512_300_000,
        "note": "learning rate 1e-4",
        "examples": [40],
    }
    assert second["by_metric"] == {"accuracy": 1.0, "f1": 1.0}
    assert second["memory"] is None
    overall = average([one.scores for one in results.cells[:2]])
    assert read["averages"]["full"] == {"value": overall.value, "low": overall.low, "high": overall.high}
    assert "GLUE" in read["average_convention"]
    (compared,) = read["paired"]
    assert (compared["first"], compared["second"]) == ("full", "lora")
    assert compared["average"] == compared["tasks"]["SST-2"]
    assert read["protocol"] == PROTOCOL


def test_a_cell_stands_once():
    """Two cells of one task and row are our mistake."""
    with pytest.raises(AssertionError, match="one cell a task and row"):
        Results([cell("A", "x", 1), cell("A", "x", 2)], [], [])


def test_the_plot_is_there(results, tmp_path):
    """A PNG with colours in it; no figure is left open, though `lora` lacks a task."""
    plot_results(results, tmp_path / "results.png")
    image = matplotlib.image.imread(tmp_path / "results.png")
    assert image.shape[0] > 400
    assert image.shape[1] > 700
    assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 10
    assert plt.get_fignums() == []


def test_the_bars_are_the_scores(results, tmp_path, monkeypatch):
    """Heights are points, the average's included, and intervals reach from limit to limit."""
    monkeypatch.setattr(plt, "close", lambda figure: None)
    plot_results(results, tmp_path / "results.png")
    (axes,) = plt.gcf().axes
    monkeypatch.undo()
    heights = [[bar.get_height() for bar in bars.patches] for bars in axes.containers if hasattr(bars, "patches")]
    assert [height for row in heights for height in row] == pytest.approx([85, 100, 92.5, 75, 50, 60, 55])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["SST-2", "MRPC", "average"]
    assert "points" in axes.get_ylabel()
    (first, *_) = axes.collections[0].get_segments()
    assert first[:, 1] / 100 == pytest.approx(np.array(results.cells[0].scores.interval()))
    plt.close("all")
