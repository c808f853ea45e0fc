"""What of a folder goes to the Hub: a pretraining's model, the parts of a run of tasks, a tokenizer, or a dataset."""

import json
from pathlib import Path
from typing import Literal

from hfrep.card.files import read_card
from hfrep.errors import CheckpointError
from hfrep.fetching import HubName
from hfrep.hub.bases import on_hub
from hfrep.hub.outbox import MAIN, Destination, Outbox
from hfrep.hub.staging import About, parts_of, stage, stage_collection
from hfrep.hub.text_staging import holds_blocks, holds_tokenizer, stage_blocks, stage_tokenizer


def finished(folder: Path) -> bool:
    """Whether `folder` is that of a run that has ended, or holds something that no run made."""
    try:
        return "result" in json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return (folder / "model" / "config.json").is_file() or holds_blocks(folder) or holds_tokenizer(folder)


def kind_of(folder: Path) -> Literal["model", "dataset"]:
    """The kind of repository that is for what `folder` holds."""
    return "dataset" if holds_blocks(folder) else "model"


def stage_run(outbox: Outbox, destination: Destination) -> None:
    """Put into the outbox what is to stand in the main branch of `destination`.

    Raises:
        CheckpointError: there is nothing to send.
        ConfigError: the base model of an adapter or a head has not arrived at the Hub.
    """
    folder = outbox.run_folder
    name, about = destination.repository, About(destination.language, destination.license)
    for holds, stage_it in ((holds_blocks, stage_blocks), (holds_tokenizer, stage_tokenizer)):
        if holds(folder):
            with outbox.filling(MAIN) as target:
                stage_it(folder, target, repository=name, about=about)
            return
    model = folder / "model"
    sources = [model] if (model / "config.json").is_file() else [part.source for part in parts_of(folder)]
    if not sources:
        raise CheckpointError(
            where=str(folder),
            expected="a model, adapter or head that a run has saved",
            found="none",
            do="name the folder of a run of recipes/mlm.py, clm.py, glue.py or merge.py",
        )
    base = _base(sources)
    with outbox.filling(MAIN) as target:
        if len(sources) == 1:
            run_folder = None if sources[0] == model else folder
            stage(sources[0], target, repository=name, base=base, about=about, run_folder=run_folder)
        else:
            stage_collection(folder, target, repository=name, base=base, about=about)


def _base(sources: list[Path]) -> HubName | None:
    """Where the model stands that the saved `sources` were made from; None where it is nowhere on the Hub."""
    bases = [base for source in sources if (base := read_card(source).base) is not None and base.folder is not None]
    return on_hub(Path(str(bases[0].folder)), bases[0].digest) if bases else None
