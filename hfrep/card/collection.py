"""The card of a repository with several parts: what came of adapting one model to tasks, in one way or more."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hfrep.card.facts import Card
from hfrep.card.markdown import TABLES, base_line, fenced
from hfrep.card.metadata import header
from hfrep.evaluation.grid import Grid
from hfrep.fetching import HubName

PLOT, NUMBERS = "results.png", "results.json"


def collection_markdown(
    parts: Mapping[str, Card], results: Mapping[str, Any], place: HubName, beside: Sequence[str] = ()
) -> str:
    """The text of the card.

    Args:
        parts: their cards, for the Hub, by the subfolders ``task/adaptation`` that they stand in.
        results: what ``results.json`` tells.
        place: the root of the repository.
        beside: names of other files that lie there.
    """
    order = [f"{task}, {row}" for task in results["tasks"] for row in results["rows"]]
    order += [card.title for card in parts.values()]  # what an earlier command left may stand in no table
    parts = dict(sorted(parts.items(), key=lambda part: order.index(part[1].title)))
    first = next(iter(parts.values()))
    libraries = {card.library_name for card in parts.values()}
    hub = None if first.base is None else first.base.hub
    text = [
        header(
            name=place.repository.rpartition("/")[2],
            pipeline_tag=first.pipeline_tag,
            library_name=libraries.pop() if len(libraries) == 1 else "hfrep",
            tags=list(dict.fromkeys(tag for card in parts.values() for tag in card.tags)),
            datasets=list(dict.fromkeys(name for card in parts.values() for name in card.datasets)),
            base_model=None if hub is None else hub.repository,
            language=first.language,
            license=first.license,
            evaluations=[
                (folder.rpartition("/")[2], evaluation)
                for folder, card in parts.items()
                for evaluation in card.evaluations
            ],
        ),
        f"# {place.repository.rpartition('/')[2]}",
        f"One model, adapted to {', '.join(results['tasks'])}. Each of the {len(parts)} parts stands in a folder of "
        "its own and has a card.",
        *([] if first.base is None else [base_line(first.base)]),
        *_use(parts, place),
        *_scores(parts, results, beside),
        f"## Limits\n\n{first.limits}",
    ]
    return "\n\n".join(text) + "\n"


def _use(parts: Mapping[str, Card], place: HubName) -> Iterator[str]:
    """One part of each adaptation: the others differ in folder and number of labels."""
    yield "## Use"
    shown: set[str] = set()
    for folder, card in parts.items():
        adaptation = folder.rpartition("/")[2]
        if adaptation not in shown:
            shown.add(adaptation)
            others = [name for name in parts if name.endswith(f"/{adaptation}") and name != folder]
            like = f"; {', '.join(f'`{name}`' for name in others)} likewise, as their cards say" if others else ""
            yield f"`{folder}`{like}:"
            yield fenced(card.snippets(replace(place, subfolder=folder))[0], "python")


def _scores(parts: Mapping[str, Card], results: Mapping[str, Any], beside: Sequence[str]) -> Iterator[str]:
    yield "## Evaluation"
    yield "Points, mean ± standard deviation over seeds:"
    cells = {(cell["row"], cell["task"]): cell for cell in results["cells"]}
    rows = [
        [row, *(_points(cells[row, task]) if (row, task) in cells else "–" for task in results["tasks"])]
        for row in results["rows"]
    ]
    yield "\n".join(Grid(("", *results["tasks"]), rows, words=(0,)).markdown())
    yield "The parts that stand here, each of one training, with its own score in the same measure:"
    own = [
        (f"[{folder}]({folder}/README.md)", card.title, card.library_name, str(card.training["seed"]), _own_score(card))
        for folder, card in parts.items()
    ]
    yield "\n".join(Grid(("folder", "", "library", "seed", "score"), own, words=(0, 1, 2)).markdown())
    yield "\n".join(f"- {sentence}" for sentence in results["protocol"])
    if PLOT in beside:
        yield f"![scores with 95 % intervals]({PLOT})"
    links = [f"[{name}]({name})" for name in (TABLES, NUMBERS, "run.json") if name in beside]
    if links:
        yield f"Intervals, differences, costs and settings are in {', '.join(links)}."


def _points(cell: Mapping[str, Any]) -> str:
    spread = f" ± {100 * cell['deviation']:.1f}" if len(cell["by_seed"]) > 1 else ""
    return f"{100 * cell['mean']:.1f}{spread}"


def _own_score(card: Card) -> str:
    """As a task's score is: the mean of its metrics, then of its splits."""
    means = [sum(one.scores.values()) / len(one.scores) for one in card.evaluations]
    return f"{100 * sum(means) / len(means):.1f}"
