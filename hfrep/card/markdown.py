"""A card as the text of a ``README.md``, for the folder it describes or for the Hub."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hfrep.card.facts import Base, Card, Evaluation
from hfrep.card.metadata import BASELINES, METRICS, header
from hfrep.card.place import link
from hfrep.evaluation.grid import Grid
from hfrep.fetching import HubName

RUN, RECORDS, PLOT, TABLES = "run.json", "metrics.jsonl", "loss.png", "results.md"  # what may lie beside a card
DESCRIBED = (
    (RUN, "Settings and versions of the run are"),
    (RECORDS, "Losses and evaluations by step are"),
    (TABLES, "All results of the run, of this model and of what was trained beside it, are"),
)


def markdown(card: Card, place: HubName | None = None, beside: Sequence[str] = ()) -> str:
    """The text of `card`.

    Args:
        place: where readers open the model; None for those who are in its folder.
        beside: names of other files that lie there.
    """
    name = card.title if place is None else f"{place.repository}/{place.subfolder}".rstrip("/").split("/", 1)[-1]
    base = None if card.base is None else card.base.hub
    parts = [
        header(
            name=name,
            pipeline_tag=card.pipeline_tag,
            library_name=card.library_name,
            tags=card.tags,
            datasets=card.datasets,
            base_model=None if base is None else base.repository,
            language=card.language,
            license=card.license,
            evaluations=[("", evaluation) for evaluation in card.evaluations],
        ),
        f"# {card.title}",
        card.summary,
        *([base_line(card.base)] if card.base else []),
        *_use(card, place),
        *_training(card.training, beside),
        *_evaluation(card.evaluations),
    ]
    if card.proofs:
        parts.append("## Proofs\n\n" + "\n".join(f"- {proof}" for proof in card.proofs))
    if card.examples:
        parts.append("## Examples\n\n" + fenced("\n".join(card.examples)))
    parts.append(f"## Limits\n\n{card.limits}")
    return "\n\n".join(parts) + "\n"


def fenced(text: str, language: str = "") -> str:
    """`text` as a block of code, whatever it holds."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.strip()}\n{fence}"


def base_line(base: Base) -> str:
    """A sentence on what a model was made from."""
    if base.hub is not None:
        commit = f" at `{base.hub.revision}`" if base.hub.revision else ""
        where = f"{link(base.hub)}{f', folder `{base.hub.subfolder}`' if base.hub.subfolder else ''}{commit}"
    else:
        where = "one that is not on the Hub" if base.folder is None else f"`{base.folder}`"
    digest = f"; its weight files have the BLAKE2b digest `{base.digest}`" if base.digest else ""
    return f"Base model: {where}{digest}."


def _use(card: Card, place: HubName | None) -> Iterator[str]:
    yield "## Use"
    for usage, snippet in zip(card.usages, card.snippets(place), strict=True):
        if usage.note:
            yield usage.note
        yield fenced(snippet, "python")


def _training(values: Mapping[str, Any], beside: Sequence[str]) -> Iterator[str]:
    yield "## Training"
    shown = {
        name: _shown(round(value, 2) if isinstance(value, float) else value)  # minutes, whose more digits say nothing
        for name, value in values.items()
    }
    yield "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in shown.items())])
    if PLOT in beside:
        yield f"![training and validation loss over tokens]({PLOT})"
    for name, holds in DESCRIBED:
        if name in beside:
            yield f"{holds} in [{name}]({name})."


def _evaluation(evaluations: Sequence[Evaluation]) -> Iterator[str]:
    if not evaluations:
        return
    yield "## Evaluation"
    for one in evaluations:
        yield f"{one.data}{f', {one.split}' if one.split else ''}: {one.how}."
        rows = [
            (name.replace("_", " "), _shown(score), METRICS[name][1] if name in METRICS else BASELINES.get(name, ""))
            for name, score in one.scores.items()
        ]
        yield "\n".join(Grid(("score", "value", ""), rows, words=(0, 2)).markdown())


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return " ".join(text.split()).replace("|", "\\|")
