"""The folder of a recipe that compares: one writer, one voice, one description."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from hfrep.settings import as_dict
from hfrep.training.checkpoint import one_writer
from hfrep.training.record import Record, RecordSettings, environment


class FolderReport:
    """Only the main process prints and writes.

    Args:
        groups: all settings of the recipe.
        folder: the recipe's.
        identity: what tells its runs from those of other recipes.
    """

    def __init__(
        self, accelerator: Accelerator, groups: Sequence[Any], folder: Path, identity: Mapping[str, Any]
    ) -> None:
        self.accelerator, self.folder, self.groups, self._identity = accelerator, folder, groups, identity
        self._record = Record(accelerator, RecordSettings(), str(folder))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the folder's lock, on the main process, while the recipe writes to it."""
        with one_writer(self.folder) if self.accelerator.is_main_process else nullcontext():
            yield

    def describe(self, **result: Any) -> None:
        """Write ``run.json``: what made the run, its settings, and what came of it, where it has ended."""
        settings = {"settings": as_dict(self.groups), "identity": dict(self._identity)}
        self._record.write_run({**environment(), **settings, **result})

    def say(self, text: str) -> None:
        """Print on the main process."""
        if self.accelerator.is_main_process:
            print(text, flush=True)
