"""All comparisons of speed and memory with the stock tools, on this machine.

    python benchmarks/bench.py                       # `make bench`
    python benchmarks/bench.py --quick               # `make bench-quick`: less of each, for a look
    python benchmarks/bench.py --only masked_training packing

Sides take turns in one run (A B A B …); a ratio is the median over the rounds of this side's speed over the other's in
the same round, and is told only where both came to the same answers. Next to it stand the lowest and the highest of the
rounds. What is measured is kept in benchmarks/results/<machine>.json, row by row, and drawn.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from comparison import LIMIT, OURS, Amount, Comparison, Goal
from comparisons import COMPARISONS
from machine import RESULTS, machine_name
from process import Answer, Process
from table import draw, lines, markdown

from hfrep.training.launch import usable_cores
from hfrep.training.record import environment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less of each; nothing is kept")
    parser.add_argument("--only", nargs="+", choices=list(COMPARISONS), help="these rows; others keep what they had")
    parser.add_argument("--machine", help="name of the file; default: made of the processor and its cores")
    options = parser.parse_args()
    machine = options.machine or machine_name()
    file = RESULTS / f"{machine}.json"
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() and not options.quick else {}
    untold = []
    for name in options.only or COMPARISONS:
        comparison = COMPARISONS[name]
        try:
            row = measure(comparison, comparison.quick if options.quick else comparison.full)
        except SystemExit as problem:  # costs this row, and no other
            print(problem, flush=True)
            untold.append(name)
            kept.pop(name, None)  # what was told of other code
            continue
        kept[name] = {**row, "environment": {**environment(), "threads": usable_cores()}}
        kept = {known: kept[known] for known in COMPARISONS if known in kept}  # in the order of the table
        print("\n".join(lines(name, row)), flush=True)
        if not options.quick:
            RESULTS.mkdir(exist_ok=True)
            file.write_text(json.dumps(kept, indent=1) + "\n")
    print("\n".join(["", *markdown(kept)]))
    if kept and not options.quick:
        file.write_text(json.dumps(kept, indent=1) + "\n")
        file.with_suffix(".md").write_text("\n".join(markdown(kept)) + "\n")
        draw(kept, file.with_suffix(".png"), machine)
        print(f"kept in {file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file}")
    if untold:
        sys.exit(f"no ratio for {', '.join(untold)}: see above")


def measure(comparison: Comparison, amount: Amount) -> dict[str, Any]:
    """All that is kept of a comparison."""
    began = datetime.now(UTC)
    turns: dict[str, list[Answer]] = {name: [] for name in comparison.sides}
    with ExitStack() as open_sides:
        sides = {}
        for name in comparison.sides:
            sides[name] = Process.of(comparison, name)
            open_sides.callback(sides[name].close)
        for side in sides.values():  # no side is timed while another makes itself ready
            side.wait()
        if amount.warm_up:
            for side in sides.values():
                side.turn(amount.warm_up)
        for _ in range(amount.rounds):
            for name, side in sides.items():
                turns[name].append(side.turn(amount.turn))
    if not comparison.own_memory:
        turns = {name: [replace(turn, peak=None) for turn in made] for name, made in turns.items()}
    require_alike(comparison, {name: made[-1].answers for name, made in turns.items() if name != LIMIT})
    return {
        "what": comparison.what,
        "unit": comparison.unit,
        "began": began.isoformat(timespec="seconds"),
        "minutes": round((datetime.now(UTC) - began).total_seconds() / 60, 1),
        "sides": {name: _side(made) for name, made in turns.items()},
        "ratios": [_ratio(goal, turns) for goal in comparison.goals],
        "share_of_limit": _shares(comparison, turns),
    }


def require_alike(comparison: Comparison, answers: Mapping[str, Mapping[str, float]]) -> None:
    """Tell no ratio where two sides do not compute the same.

    Raises:
        SystemExit: an answer is further from ours than allowed.
    """
    for side, found in answers.items():
        for name, tolerance in comparison.tolerances.items():
            mine, theirs = answers[OURS][name], found[name]
            if not abs(mine - theirs) <= tolerance:
                raise SystemExit(
                    f"{comparison.name}: {name} is {mine:g} for {OURS} and {theirs:g} for {side}, expected within "
                    f"{tolerance:g}: no ratio is told of sides that do not compute the same"
                )


def _side(turns: Sequence[Answer]) -> dict[str, Any]:
    speeds = [turn.units / turn.seconds for turn in turns]
    return {
        "median": statistics.median(speeds),
        "speeds": speeds,
        "peak_bytes": turns[-1].peak,
        "answers": dict(turns[-1].answers),
    }


def _ratio(goal: Goal, turns: Mapping[str, Sequence[Answer]]) -> dict[str, Any]:
    mine, theirs = turns[goal.mine], turns[goal.against]
    ratios = [
        (one.units / one.seconds) / (other.units / other.seconds) for one, other in zip(mine, theirs, strict=True)
    ]
    return {
        "mine": goal.mine,
        "against": goal.against,
        "wanted": {"speed": goal.speed, "memory": goal.memory},
        "median": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "memory": mine[-1].peak / theirs[-1].peak if mine[-1].peak and theirs[-1].peak else None,
    }


def _shares(comparison: Comparison, turns: Mapping[str, Sequence[Answer]]) -> dict[str, Any] | None:
    """Of each side's useful operations in the rate of plain matrix products in the same round."""
    if comparison.operations is None:
        return None
    each = comparison.operations()
    rates = [turn.units / turn.seconds for turn in turns[LIMIT]]
    return {
        "operations_a_unit": each,
        "limit": statistics.median(rates),
        "goal": comparison.share,
        "median": {
            name: statistics.median(
                turn.units * each / turn.seconds / rate for turn, rate in zip(made, rates, strict=True)
            )
            for name, made in turns.items()
            if name != LIMIT
        },
    }


if __name__ == "__main__":
    main()
