"""A grouped bar chart of scores with their intervals."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

from hfrep.evaluation.task_scores import Estimate, Floats

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")  # Okabe and Ito 2008
GRAY = "#B0B0B0"
GROUP = 0.84  # of the distance between two groups, that is filled with bars


def plot_bars(
    bars: Mapping[str, Mapping[str, Estimate]], groups: Sequence[str], untrained: Collection[str], path: Path
) -> None:
    """Draw scores in points, times 100, into a PNG.

    Args:
        bars: for each row its scores by group; a group that a row lacks stays empty.
        groups: along the axis.
        untrained: rows to hold the others against, which are gray.
        path: of the file.
    """
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # after the backend is chosen

    width = GROUP / len(bars)
    figure_width = max(6.0, 1 + len(groups) * (0.3 + 0.12 * len(bars)))
    figure, axes = plt.subplots(figsize=(figure_width, 4.2), layout="constrained")
    colours = iter(COLOURS * len(bars))
    for number, (row, scores) in enumerate(bars.items()):
        axes.bar(
            [groups.index(group) + width * (number + 0.5) - GROUP / 2 for group in scores],
            [100 * one.value for one in scores.values()],
            0.92 * width,
            yerr=_errors(scores),
            label=row,
            color=GRAY if row in untrained else next(colours),
            error_kw={"elinewidth": 0.9, "capsize": 1.5, "ecolor": "#333333"},
        )
    axes.set_xticks(range(len(groups)), groups)
    axes.set(xlabel="task", ylabel="score (points)", title="Scores with 95 % intervals", xlim=(-0.6, len(groups) - 0.4))
    axes.axhline(0, linewidth=0.8, color="black")
    axes.grid(axis="y", linewidth=0.4, color="#DDDDDD")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=min(4, len(bars)), frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _errors(scores: Mapping[str, Estimate]) -> Floats:
    """Distances of the limits from the scores in points, [2, n]; 0 where a score lies beyond a limit by chance."""
    values = np.array([[one.value - one.low, one.high - one.value] for one in scores.values()])
    errors: Floats = 100 * np.clip(values, 0, None).T
    return errors
