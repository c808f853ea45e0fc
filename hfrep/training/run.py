"""A run's folder from outside the loop: what the run is, whether it is done, and where it goes on."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from hfrep.errors import CheckpointError
from hfrep.settings import as_dict
from hfrep.training.checkpoint import (
    Checkpoints,
    CheckpointSettings,
    TrainerState,
    read_state,
    refuse_differences,
)


def beginning(groups: Sequence[Any], facts: Mapping[str, str], accelerator: Accelerator) -> TrainerState:
    """The state of a run before its first step: what it is, by its settings and by `facts` (fingerprints)."""
    identity = as_dict(groups, "identity") | dict(facts)
    return TrainerState(
        step=0,
        seconds=0.0,
        processes=accelerator.num_processes,
        # Through JSON and back, so that it compares equal to what a checkpoint gives: no tuples.
        identity=json.loads(json.dumps(identity)),
        schedule=json.loads(json.dumps(as_dict(groups, "schedule"))),
    )


def finished_result(settings: CheckpointSettings, start: TrainerState) -> dict[str, Any] | None:
    """The result in the folder's ``run.json``, if the same run has been finished there.

    Raises:
        CheckpointError: the folder holds another run.
    """
    path = Path(settings.output_dir) / "run.json"
    if settings.resume_from_checkpoint != "auto" or not path.exists():
        return None
    run = json.loads(path.read_text())
    if run.get("result") is None:
        return None
    stored = TrainerState(0, 0.0, 0, identity=run["identity"], schedule=run["schedule"])
    refuse_differences(stored, start, extend=settings.extend)
    if stored.schedule != start.schedule:
        return None
    result: dict[str, Any] = run["result"]
    return result


def resume_point(
    checkpoints: Checkpoints, settings: CheckpointSettings, start: TrainerState
) -> tuple[Path, TrainerState] | None:
    """The checkpoint that the run goes on from; None where it begins.

    Raises:
        CheckpointError: the checkpoint is unusable, or belongs to a run with other settings; or a new start was asked
            for in a folder that has checkpoints.
    """
    newest = checkpoints.latest()
    if settings.resume_from_checkpoint == "none":
        if newest is not None:
            raise CheckpointError(
                where=str(checkpoints.folder),
                expected="no checkpoints, since --resume_from_checkpoint none begins anew",
                found=newest.name,
                do="give another --output_dir, or remove the folder yourself",
            )
        return None
    folder = newest if settings.resume_from_checkpoint == "auto" else Path(settings.resume_from_checkpoint)
    if folder is None:
        return None
    stored = read_state(folder)
    refuse_differences(stored, start, extend=settings.extend)
    return folder, stored
