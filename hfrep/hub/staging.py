"""What is to stand in a repository of the Hub, made of the folders that a run leaves.

A saved folder is made to be opened from inside; on the Hub it is opened by its name, from anywhere. So its card is
written anew for there, and an adapter or a head names its base by Hub id and commit.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from hfrep.adaptation.frozen import HEAD, backbone
from hfrep.card import Base, Card
from hfrep.card.collection import NUMBERS, PLOT, collection_markdown
from hfrep.card.files import FACTS as CARD
from hfrep.card.files import TEXT, read_card
from hfrep.card.markdown import PLOT as LOSS
from hfrep.card.markdown import RECORDS, RUN, TABLES, markdown
from hfrep.card.place import link
from hfrep.card.private import without_paths
from hfrep.errors import CheckpointError
from hfrep.fetching import HubName
from hfrep.hub.bases import not_on_hub
from hfrep.models.adapter_facts import CONFIG, FACTS
from hfrep.publish import card_on_the_way

LARGE = (".safetensors", ".bin", ".parquet")
Facts = dict[str, Any]
# What names the base model in each file that does.
NAMING: dict[str, Callable[[HubName], Facts]] = {
    CONFIG: lambda base: {"base_model_name_or_path": base.repository, "revision": base.revision},
    FACTS: lambda base: {"base": str(base)},
    HEAD: lambda base: {**backbone(base)},
}


@dataclass(frozen=True)
class About:
    """What only the user can tell of a model, for its card.

    Attributes:
        language: ISO codes of the languages of its text; None where it is not told.
        license: as the Hub names it, as ``apache-2.0``.
    """

    language: Sequence[str] | None = None
    license: str | None = None


@dataclass(frozen=True)
class Part:
    """A model, adapter or head that a run has saved beside others.

    Attributes:
        source: its folder.
        subfolder: where it goes in the repository, ``task/adaptation``.
    """

    source: Path
    subfolder: str


def stage(
    source: Path,
    target: Path,
    *,
    repository: str,
    revision: str | None = None,
    subfolder: str = "",
    base: HubName | None = None,
    about: About,
    run_folder: Path | None = None,
) -> None:
    """Put into `target` what is to stand in `repository`, in its `subfolder`, of the exported folder `source`.

    Weights are hard links where the file system allows it. Hidden files are left out. Of the folder above `source`,
    the run's, ``metrics.jsonl`` and ``loss.png`` come along, and ``run.json`` without the paths of this machine.

    Args:
        target: folder that stands for the repository's root; made where it is not there.
        repository: ``org/name``.
        revision: branch or tag that others will find it under; None for the main branch.
        base: where the model that it was made from stands, at a commit, if that was a folder of this machine. None
            where that is not on the Hub, and is not needed to open what is staged.
        run_folder: of the run of recipes/glue.py that `source` is the one part of; what comes along is of it then, its
            ``results.json``, ``.md`` and ``.png`` too.

    Raises:
        CheckpointError: `source` has no card of ours.
        ConfigError: it is an adapter or a head whose base is a folder of this machine, and `base` is None.
    """
    _stage(source, target, HubName(repository, subfolder, revision), base, about, run_folder)


def stage_checkpoint(
    run_folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    target: Path,
    *,
    repository: str,
    step: int,
    about: About,
) -> None:
    """Put into `target` what is to stand in the branch ``step-N`` of `repository`: `model` as it is after `step` steps.

    Args:
        run_folder: of the pretraining that goes on.
    """
    card = _for_hub(card_on_the_way(run_folder, model, step), None, about)
    final = (
        f"This is the model after step {step:,}; the final one is in the main branch of {link(HubName(repository))}."
    )
    card = replace(card, summary=f"{card.summary} {final}")
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    place = HubName(repository, revision=f"step-{step}")
    (target / TEXT).write_text(markdown(card, place), encoding="utf-8")


def parts_of(run_folder: Path) -> list[Part]:
    """What a run of recipes/glue.py has saved: of each task and adaptation that of the lowest seed."""
    found: dict[str, Path] = {}
    for card in sorted(
        run_folder.glob(f"*/*/seed-*/*/{CARD}"), key=lambda card: int(card.parts[-3].removeprefix("seed-"))
    ):
        task, adaptation = card.parts[-5:-3]
        found.setdefault(f"{task}/{adaptation}", card.parent)
    return [Part(source, subfolder) for subfolder, source in sorted(found.items())]


def stage_collection(
    run_folder: Path,
    target: Path,
    *,
    repository: str,
    revision: str | None = None,
    base: HubName | None = None,
    about: About,
) -> None:
    """Put the parts of a run of recipes/glue.py into `target`, each in its subfolder, with a card of all at its root.

    Of the run's folder ``results.json``, ``.md`` and ``.png`` come along, and ``run.json`` without the paths of this
    machine.

    Raises:
        CheckpointError: the run has saved nothing, or has no results yet.
        ConfigError: see `stage`.
    """
    parts, numbers = parts_of(run_folder), run_folder / NUMBERS
    if not parts or not numbers.is_file():
        raise CheckpointError(
            where=str(run_folder),
            expected=f"what recipes/glue.py saves, and {NUMBERS}",
            found=f"no {NUMBERS}" if parts else "nothing that was saved",
            do="finish the run by its own command",
        )
    place = HubName(repository, revision=revision)
    cards = {
        part.subfolder: _stage(part.source, target, replace(place, subfolder=part.subfolder), base, about)
        for part in parts
    }
    beside = _take_along(run_folder, target, (NUMBERS, TABLES, PLOT, RUN))
    results = _read_json(target / NUMBERS)
    (target / TEXT).write_text(collection_markdown(cards, results, place, beside), encoding="utf-8")


def _stage(
    source: Path, target: Path, place: HubName, base: HubName | None, about: About, run_folder: Path | None = None
) -> Card:
    """What `stage` does; the card as it stands there."""
    card, folder = read_card(source), target / place.subfolder
    named = card.base.hub if card.base else None
    base = named or base
    if base is None and any((source / name).is_file() for name in NAMING):
        folder_of_base = card.base.folder if card.base else None
        raise not_on_hub(str(source), None if folder_of_base is None else Path(folder_of_base))
    card = _for_hub(card, base, about)
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        name = file.relative_to(source)
        if name.name in (CARD, TEXT) or any(part.startswith(".") for part in name.parts):
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if base is not None and str(name) in NAMING:
            _write_json(folder / name, _read_json(file) | NAMING[str(name)](base))
        else:
            put(file, folder / name)
    if run_folder is None:
        beside = _take_along(source.parent, folder, (LOSS, RECORDS, RUN))
    else:
        beside = _take_along(run_folder, folder, (LOSS, RECORDS, RUN, NUMBERS, TABLES, PLOT))
    (folder / TEXT).write_text(markdown(card, place, beside), encoding="utf-8")
    return card


def _for_hub(card: Card, base: HubName | None, about: About) -> Card:
    """With what the user says, and with `base` in place of a folder of this machine."""
    known = card.base or Base()
    return replace(
        card,
        base=None if base is None and card.base is None else replace(known, hub=known.hub or base, folder=None),
        language=about.language or (),
        license=about.license,
    )


def _take_along(folder: Path, target: Path, names: Sequence[str]) -> list[str]:
    """Those of the files called `names` that are in `folder`, put into `target`."""
    taken = [name for name in names if (folder / name).is_file()]
    for name in taken:
        if name.endswith(".json"):
            _write_json(target / name, without_paths(_read_json(folder / name)))
        elif name.endswith(".md"):
            text = (folder / name).read_text(encoding="utf-8")
            (target / name).write_text(without_paths(text), encoding="utf-8")
        else:
            put(folder / name, target / name)
    return taken


def put(file: Path, place: Path) -> None:
    """Have `file` at `place` too: a hard link of a large one, where the file system allows it, or else a copy."""
    place.unlink(missing_ok=True)
    if file.suffix in LARGE:
        try:
            os.link(file.resolve(), place)
            return
        except OSError:  # another file system, or one without such links
            pass
    shutil.copyfile(file, place)


def _read_json(file: Path) -> Facts:
    facts: Facts = json.loads(file.read_text(encoding="utf-8"))
    return facts


def _write_json(file: Path, facts: Facts) -> None:
    file.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
