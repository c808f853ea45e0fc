"""Small multiples, a panel for each task: score against demonstrations, and accuracy against confidence."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from hfrep.evaluation.prompting.calibration import Reliability
from hfrep.evaluation.results_plot import COLOURS, GRAY
from hfrep.evaluation.task_scores import Estimate

Curves = Mapping[str, Mapping[int, Estimate]]
References = Mapping[str, float]
MARKERS = "osD^vPX"
REFERENCE_STYLES = ((GRAY, "-"), ("#333333", ":"), ("#777777", "--"), ("#555555", "-."))  # equal ones both show
DODGE = 0.07  # of the distance between two numbers of demonstrations, between two curves
INTERVAL = "95 % interval"
DIAGONAL = "as right as sure"
PANEL = 2.9  # inches, the height of one
LEGEND_LINE, LEGEND_LETTER, LEGEND_ROW = 0.75, 0.085, 0.22  # inches, so that a legend has room and takes none
ERRORS_IN_A_ROW = 3
ROW_OF_PANELS = 3  # beyond, a grid is about square


def plot_shots(panels: Mapping[str, tuple[Curves, References]], path: Path, *, metric: str, title: str) -> None:
    """Draw scores against the number of demonstrations into a PNG, in points, times 100.

    Numbers of demonstrations stand evenly spaced, whatever their values.

    Args:
        panels: for each task its curves, by name the score for each number of demonstrations, and its horizontal
            lines, as chance; a name has one colour in all panels.
        path: of the file.
        metric: what the scores are, as "accuracy".
        title: above all panels.
    """
    shots = sorted({shot for curves, _ in panels.values() for curve in curves.values() for shot in curve})
    names = _names(curves for curves, _ in panels.values())
    styles = dict(zip(_names(references for _, references in panels.values()), cycle(REFERENCE_STYLES), strict=False))
    figure, grid = _panels(list(panels), title, width=1.3 * PANEL)
    for axes, (curves, references) in zip(grid, panels.values(), strict=True):
        for name, height in references.items():
            colour, line = styles[name]
            axes.axhline(100 * height, color=colour, linestyle=line, linewidth=1.3, label=name, zorder=1)
        for name, curve in curves.items():
            shift = DODGE * (names.index(name) - (len(names) - 1) / 2)
            _draw(axes, name, names, [(shots.index(shot) + shift, curve[shot]) for shot in sorted(curve)])
        axes.set_xticks(range(len(shots)), map(str, shots))
        axes.set_xlim(-0.4, len(shots) - 0.6)
        axes.grid(axis="y", linewidth=0.4, color="#DDDDDD")
    _finish(figure, grid, "demonstrations in the prompt", f"{metric} (points)", [*names, *styles], path)


def plot_reliability(panels: Mapping[str, Mapping[str, Reliability]], path: Path, *, title: str) -> None:
    """Draw reliability diagrams into a PNG, in points, with the expected calibration error (ECE) of each curve.

    A marker is a bin, its area the share of predictions in it, its bar Wilson's 95 % interval of the accuracy.

    Args:
        panels: for each task its curves by name; a name has one colour in all panels.
        path: of the file.
        title: above all panels.
    """
    names = _names(panels.values())
    figure, grid = _panels(list(panels), title, width=1.15 * PANEL, height=1.35 * PANEL)
    for axes, curves in zip(grid, panels.values(), strict=True):
        axes.plot([0, 100], [0, 100], color=GRAY, linestyle="--", linewidth=1.3, label=DIAGONAL, zorder=1)
        errors = []
        for name, curve in curves.items():
            points = [(100 * one.confidence, one.accuracy) for one in curve.bins]
            line = _draw(axes, name, names, points, [one.count / curve.count for one in curve.bins])
            errors.append((line, f"{100 * curve.expected_calibration_error:.1f}"))
        axes.set(xlim=(-3, 103), ylim=(-3, 103), aspect="equal")
        axes.set_xticks(range(0, 101, 20))
        axes.set_yticks(range(0, 101, 20))
        axes.grid(linewidth=0.4, color="#DDDDDD")
        _write_errors(axes, errors)
    _finish(figure, grid, "confidence (points)", "accuracy (points)", [*names, DIAGONAL], path)


def _draw(
    axes: Any, name: str, names: Sequence[str], points: Sequence[tuple[float, Estimate]], shares: Sequence[float] = ()
) -> Any:
    """A curve with its intervals; `shares` are those of the items behind each point, where they differ."""
    place = names.index(name)
    colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
    across = [x for x, _ in points]
    heights = [100 * one.value for _, one in points]
    axes.vlines(across, [100 * one.low for _, one in points], [100 * one.high for _, one in points], colour, lw=1.1)
    (line,) = axes.plot(across, heights, color=colour, marker=marker, markersize=5, linewidth=1.5, label=name)
    if shares:
        axes.scatter(across, heights, [25 + 100 * share for share in shares], color=colour, marker=marker)
    return line


def _write_errors(axes: Any, errors: Sequence[tuple[Any, str]]) -> None:
    """The calibration errors above a panel, each beside its colour."""
    axes.legend(
        [line for line, _ in errors],
        [error for _, error in errors],
        title="expected calibration error (points)",
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=max(1, min(len(errors), ERRORS_IN_A_ROW)),
        handlelength=1.0,
        columnspacing=1.0,
        fontsize="small",
        title_fontsize="small",
        frameon=False,
    )
    axes.set_title(axes.get_title(), fontsize="medium", pad=38)


def _panels(titles: Sequence[str], title: str, width: float, height: float = PANEL) -> tuple[Any, list[Any]]:
    """A figure and its axes in the order of `titles`; the grid's last places may stay empty."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # after the backend is chosen

    columns = len(titles) if len(titles) <= ROW_OF_PANELS else math.ceil(math.sqrt(len(titles)))
    rows = math.ceil(len(titles) / columns)
    size = (max(5.0, width * columns), 0.6 + height * rows)
    figure, grid = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    every = list(np.ravel(grid))
    for axes in every[len(titles) :]:
        axes.remove()
    for axes, name in zip(every, titles, strict=False):
        axes.set_title(name, fontsize="medium")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, wrap=True)
    figure.get_layout_engine().set(h_pad=0.1)
    return figure, every[: len(titles)]


def _names(groups: Iterable[Iterable[str]]) -> list[str]:
    """All of them once, in the order in which they first occur."""
    return list(dict.fromkeys(name for group in groups for name in group))


def _finish(figure: Any, grid: Sequence[Any], across: str, up: str, names: Sequence[str], path: Path) -> None:
    """Labels at the outer panels and one legend below all, with each of `names` once; then the file."""
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D

    columns = grid[0].get_gridspec().ncols
    for place, axes in enumerate(grid):
        if place + columns >= len(grid):
            axes.set_xlabel(across)
        if place % columns == 0:
            axes.set_ylabel(up)
    bar = Line2D([], [], linestyle="", marker="|", markersize=11, color="#333333")
    handles: dict[str, Any] = {INTERVAL: bar}
    for axes in grid:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    names = [*names, INTERVAL]
    fitting = int(figure.get_figwidth() / (LEGEND_LINE + LEGEND_LETTER * max(map(len, names))))
    columns = max(1, min(fitting, len(names)))
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * math.ceil(len(names) / columns))
    figure.legend([handles[name] for name in names], names, loc="outside lower center", ncols=columns, frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
