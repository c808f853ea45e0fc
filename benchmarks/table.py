"""What is printed and drawn of the rows of a benchmark."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from comparison import LIMIT, OURS


def lines(name: str, row: Mapping[str, Any]) -> Iterator[str]:
    """A row for reading: each side's speed and memory, and how ours stands to the others."""
    yield f"{row['what']} ({name}, {row['minutes']} minutes)"
    shares = row["share_of_limit"]
    for side, made in row["sides"].items():
        if side == LIMIT:
            yield f"  {'matrix products alone':<26} {made['median'] / 1e9:12,.0f} GFLOP/s"
            continue
        share = f"   {shares['median'][side]:6.1%} of the limit" if shares else ""
        speed = f"{made['median']:12,.4g}" if made["median"] < 100 else f"{made['median']:12,.0f}"
        memory = f"   peak {made['peak_bytes'] / 1e6:7,.0f} MB" if made["peak_bytes"] else ""
        yield f"  {side:<26} {speed} {row['unit']}/s{memory}{share}"
    for ratio in row["ratios"]:
        yield f"  {_verdict(ratio)}"
    if shares and shares["goal"]:
        reached = shares["median"][OURS]
        yield f"  share of the limit {reached:.0%}, goal {shares['goal']:.0%}: {_met(reached >= shares['goal'])}"


def _verdict(ratio: Mapping[str, Any]) -> str:
    wanted = ratio["wanted"]
    said = (
        f"{_sides(ratio)}: {ratio['median']:.2f} ×{_range(ratio)}, goal {wanted['speed']:g} ×: "
        f"{_met(ratio['median'] >= wanted['speed'])}"
    )
    if wanted["memory"] and ratio["memory"]:
        memory = f"memory {ratio['memory']:.2f} ×, goal at most {wanted['memory']:g} ×"
        said += f"; {memory}: {_met(ratio['memory'] <= wanted['memory'])}"
    return said


def _sides(ratio: Mapping[str, Any]) -> str:
    return f"{ratio['mine']} against {ratio['against']}"


def _range(ratio: Mapping[str, Any]) -> str:
    return f" ({ratio['lowest']:.2f} … {ratio['highest']:.2f})" if ratio["lowest"] < ratio["highest"] else ""


def _met(yes: bool) -> str:
    return "met" if yes else "MISSED"


def markdown(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The table of a README."""
    yield "| what | which sides | speed (lowest … highest round) | peak memory | of the limit | wanted |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for row in rows.values():
        shares = row["share_of_limit"]
        for ratio in row["ratios"]:
            share = f"{shares['median'][ratio['mine']]:.0%}" if shares else ""
            wanted = ratio["wanted"]
            memory = f"{ratio['memory']:.2f} ×" if wanted["memory"] and ratio["memory"] else ""
            goal = f"{wanted['speed']:g} ×" + (f", {wanted['memory']:g} ×" if wanted["memory"] else "")
            speed = f"{ratio['median']:.2f} ×{_range(ratio)}"
            yield f"| {row['what']} | {_sides(ratio)} | {speed} | {memory} | {share} | {goal} |"


def draw(rows: Mapping[str, Mapping[str, Any]], file: Path, machine: str) -> None:
    """A bar for each comparison, with its goal."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    bars = [(f"{row['what']}\n{_sides(ratio)}", ratio) for row in rows.values() for ratio in row["ratios"]]
    figure, axes = pyplot.subplots(figsize=(9, 0.6 * len(bars) + 1.2), layout="constrained")
    for place, (_, ratio) in enumerate(reversed(bars)):
        wanted = ratio["wanted"]["speed"]
        axes.barh(place, ratio["median"], color="tab:blue" if ratio["median"] >= wanted else "tab:orange")
        axes.plot([ratio["lowest"], ratio["highest"]], [place, place], color="black", linewidth=1)
        axes.plot([wanted] * 2, [place - 0.4, place + 0.4], color="tab:red", linewidth=2)
        axes.text(ratio["median"], place + 0.22, f" {ratio['median']:.1f} ×", va="center", fontsize=8)
    axes.set_yticks(range(len(bars)), [label for label, _ in reversed(bars)], fontsize=7)
    axes.set_xscale("log")
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.margins(y=0.01)
    axes.set_xlabel("times the speed (log scale); red: wanted; black: lowest to highest round", fontsize=9)
    axes.set_title(machine, fontsize=9)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
