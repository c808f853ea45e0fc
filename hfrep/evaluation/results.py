"""The results of a run, tasks by rows: for the terminal, for a model card, as JSON, and as a plot.

A row is a way of adapting a model, or something to hold it against: ``full``, ``frozen``, ``majority class``. Tables
give points, scores times 100; JSON gives scores as they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hfrep.evaluation.grid import Grid
from hfrep.evaluation.results_plot import plot_bars
from hfrep.evaluation.task_scores import Estimate, TaskScores, average, paired, paired_average

AVERAGE = "average"
CONVENTION = "unweighted, as in GLUE: metrics within a task, then its splits, then tasks"
INTERVAL = "95 % interval"
NOTHING = "–"


@dataclass(frozen=True, eq=False)
class Cell:
    """One row's result on one task.

    Attributes:
        task: title, as tables spell it.
        row: what was adapted and how.
        trained: parameters that were trained, 0 where nothing was.
        parameters: of the whole model, 0 where there is none.
        minutes: of training, mean over seeds.
        memory: peak in bytes, above what was resident before; None where it was not measured.
        note: what else a reader should know, as the learning rate that was picked.
    """

    task: str
    row: str
    scores: TaskScores
    trained: int
    parameters: int
    minutes: float
    memory: int | None
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """How much higher one row scores than another, on the same items and seeds.

    Attributes:
        first, second: the rows.
        tasks: the difference for each task that both have, by title.
        average: the difference of their averages over these tasks.
    """

    first: str
    second: str
    tasks: Mapping[str, Estimate]
    average: Estimate


@dataclass(frozen=True, eq=False)
class Results:
    """All of a run.

    Attributes:
        cells: in any order; tasks and rows stand in the order in which they first occur.
        paired: the comparisons of two rows that were made.
        protocol: how the numbers came about, a sentence each.
    """

    cells: Sequence[Cell]
    paired: Sequence[Comparison]
    protocol: Sequence[str]

    def __post_init__(self) -> None:
        assert len({(cell.task, cell.row) for cell in self.cells}) == len(self.cells), "one cell a task and row"

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(cell.task for cell in self.cells))

    @property
    def rows(self) -> list[str]:
        return list(dict.fromkeys(cell.row for cell in self.cells))

    def of(self, row: str) -> dict[str, Cell]:
        """The cells of `row`, by task."""
        return {cell.task: cell for cell in self.cells if cell.row == row}

    @cached_property
    def averages(self) -> Mapping[str, Estimate]:
        """The average over tasks of each row that has all of them; of none where there is one task only."""
        whole = [row for row in self.rows if len(self.of(row)) == len(self.tasks) > 1]
        return {row: average([cell.scores for cell in self.of(row).values()]) for row in whole}


def compare(cells: Sequence[Cell], first: str, second: str) -> Comparison:
    """The rows `first` and `second` on the tasks that both have, at least one; each with the same number of seeds."""
    sides = [{cell.task: cell.scores for cell in cells if cell.row == row} for row in (first, second)]
    pairs = {task: (scores, sides[1][task]) for task, scores in sides[0].items() if task in sides[1]}
    assert pairs, "two rows are compared on what both have"
    differences = {task: paired(*pair) for task, pair in pairs.items()}
    return Comparison(first, second, differences, paired_average(list(pairs.values())))


def text_table(results: Results) -> list[str]:
    """Lines for the terminal: rows by tasks, then each cell in detail, the comparisons, and the protocol."""
    lines: list[str] = []
    for title, grid in _grids(results):
        lines += [f"{title}:", *grid.text(), ""]
    return [*lines, *results.protocol]


def markdown_table(results: Results) -> str:
    """The same in Markdown, for a model card."""
    blocks = [
        f"{title[0].upper()}{title[1:]}:\n\n" + "\n".join(grid.markdown()) + "\n" for title, grid in _grids(results)
    ]
    blocks += ["\n".join(f"- {sentence}" for sentence in results.protocol) + "\n"] if results.protocol else []
    return "\n".join(blocks)


def as_json(results: Results) -> dict[str, Any]:
    """Everything, in types that JSON knows; scores and differences are not times 100, memory is in bytes."""
    return {
        "tasks": results.tasks,
        "rows": results.rows,
        "cells": [_cell_as_json(cell) for cell in results.cells],
        "averages": {row: asdict(estimate) for row, estimate in results.averages.items()},
        "average_convention": CONVENTION,
        "paired": [asdict(comparison) for comparison in results.paired],
        "protocol": list(results.protocol),
    }


def plot_results(results: Results, path: Path) -> None:
    """Bars of each row for each task and for the average, in points with 95 % intervals, into a PNG at `path`."""
    bars: dict[str, dict[str, Estimate]] = {row: {} for row in results.rows}
    for cell in results.cells:
        bars[cell.row][cell.task] = Estimate(cell.scores.mean, *cell.scores.interval())
    for row, estimate in results.averages.items():
        bars[row][AVERAGE] = estimate
    untrained = set(results.rows) - {cell.row for cell in results.cells if cell.trained}
    plot_bars(bars, [*results.tasks, *([AVERAGE] if results.averages else [])], untrained, path)


def _cell_as_json(cell: Cell) -> dict[str, Any]:
    scores = cell.scores
    low, high = scores.interval()
    return {
        "task": cell.task,
        "row": cell.row,
        "mean": scores.mean,
        "deviation": scores.deviation,
        "low": low,
        "high": high,
        "by_seed": scores.by_seed.tolist(),
        "by_metric": dict(scores.by_metric),
        "examples": [len(part.references) for part in scores.parts],
        "trained": cell.trained,
        "parameters": cell.parameters,
        "minutes": cell.minutes,
        "memory": cell.memory,
        "note": cell.note,
    }


def _grids(results: Results) -> Iterator[tuple[str, Grid]]:
    averaged = f"; {AVERAGE} {CONVENTION}" if results.averages else ""
    yield f"points, mean ± standard deviation over seeds{averaged}", _scores(results)
    yield "each score", _details(results)
    if results.paired:
        yield "differences in points, drawn on the same items and seeds", _differences(results)


def _scores(results: Results) -> Grid:
    header = ["", *results.tasks, *([AVERAGE] if results.averages else [])]
    rows = []
    for row in results.rows:
        cells, mean = results.of(row), results.averages.get(row)
        fields = [_spread(cells[task].scores) if task in cells else NOTHING for task in results.tasks]
        if results.averages:
            fields.append(NOTHING if mean is None else _points(mean.value))
        rows.append([row, *fields])
    return Grid(header, rows, words=(0,))


def _details(results: Results) -> Grid:
    header = ("task", "row", "score", INTERVAL, "seeds", "trained", "share", "minutes", "memory", "metrics", "note")
    cells = [results.of(row).get(task) for task in results.tasks for row in results.rows]
    rows: list[Sequence[str]] = [_detail(cell) for cell in cells if cell]
    for row, mean in results.averages.items():
        limits = _limits(mean.low, mean.high)
        rows.append((AVERAGE, row, _points(mean.value), limits, *[""] * (len(header) - 4)))
    return Grid(header, rows, words=(0, 1, 9, 10))


def _detail(cell: Cell) -> Sequence[str]:
    scores = cell.scores
    metrics = ", ".join(f"{name} {_points(value)}" for name, value in scores.by_metric.items())
    return (
        cell.task,
        cell.row,
        _points(scores.mean),
        _limits(*scores.interval()),
        str(scores.seeds),
        f"{cell.trained:,}",
        f"{100 * cell.trained / max(1, cell.parameters):.3g} %",
        f"{cell.minutes:.2f}",
        NOTHING if cell.memory is None else f"{cell.memory / 1e6:,.0f} MB",
        metrics if len(scores.metrics) > 1 else scores.metrics[0],
        cell.note,
    )


def _differences(results: Results) -> Grid:
    rows = []
    for one in results.paired:
        averages = {AVERAGE: one.average} if len(one.tasks) > 1 else {}
        for task, found in {**one.tasks, **averages}.items():
            limits = _limits(found.low, found.high, sign="+")
            rows.append((f"{one.first} minus {one.second}", task, _points(found.value, sign="+"), limits))
    return Grid(("rows", "task", "difference", INTERVAL), rows, words=(0, 1))


def _spread(scores: TaskScores) -> str:
    return _points(scores.mean) + (f" ± {_points(scores.deviation)}" if scores.seeds > 1 else "")


def _limits(low: float, high: float, sign: str = "") -> str:
    return f"{_points(low, sign)} … {_points(high, sign)}"


def _points(score: float, sign: str = "") -> str:
    return f"{round(100 * score, 1) + 0.0:{sign}.1f}"  # adding zero takes the sign of a negative one
