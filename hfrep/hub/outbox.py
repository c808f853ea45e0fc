"""What is on its way to the Hub waits on disk until it has arrived, so that no kill and no network loses it.

In a run's folder::

    outbox/
        repository.json      what it is for, and what has arrived
        waiting/step-500/    what is to stand in the branch step-500
        waiting/main/

``repository.json``, where "weights" tells the main branch's model from a later one of the same run::

    {"repository": "me/tiny", "kind": "model", "private": null, "weights": "9f3b…", "language": ["en"],
     "license": "apache-2.0", "arrived": {"main": "83ac…"}}
"""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from hfrep.errors import CheckpointError
from hfrep.export import written_aside

FOLDER = "outbox"
FILE = "repository.json"
MAIN = "main"


@dataclass(frozen=True)
class Destination:
    """A repository on the Hub.

    Attributes:
        repository: ``org/name``; without ``org/`` until the Hub could be asked whose the token is.
        private: None as the account says.
        weights: digest of the weights in the main branch; None where it holds none, or several models' parts.
        language, license: what the user told for the card, as in `hfrep.hub.settings`.
        arrived: commit of each branch, by its name.
    """

    repository: str
    kind: Literal["model", "dataset"] = "model"
    private: bool | None = None
    weights: str | None = None
    language: list[str] | None = None
    license: str | None = None
    arrived: dict[str, str] = field(default_factory=dict)


class Outbox:
    """The folder ``outbox`` of a run. One thread may fill it while another sends."""

    def __init__(self, run_folder: Path) -> None:
        self.run_folder, self.folder = run_folder, run_folder / FOLDER
        self._changing = threading.Lock()

    @property
    def destination(self) -> Destination | None:
        """Where things go; None before `address`.

        Raises:
            CheckpointError: the file is damaged.
        """
        file = self.folder / FILE
        try:
            return Destination(**json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(
                where=str(file), expected="what hfrep wrote there", found=str(error), do="remove it and push again"
            ) from None

    def address(self, destination: Destination) -> None:
        """Send to `destination` from now on; what has arrived elsewhere counts no more.

        Raises:
            CheckpointError: something still waits for another one.
        """
        with self._changing:
            before = self.destination
            if before is not None and (name := _same(before.repository, destination.repository)):
                destination = replace(destination, repository=name, arrived=before.arrived, weights=before.weights)
            elif before is not None and (waiting := self.waiting()):
                raise CheckpointError(
                    where=str(self.folder),
                    expected=f"what still waits for {before.repository} to go there ({', '.join(waiting)})",
                    found=f"--hub_model_id {destination.repository}",
                    do=f"finish it with: python recipes/push.py {self.run_folder}, or remove {self.folder}",
                )
            self._write(destination)

    @contextmanager
    def filling(self, revision: str) -> Iterator[Path]:
        """An empty folder that waits for the branch `revision` once it is filled."""
        with written_aside(self.folder / "waiting" / revision) as aside:
            yield aside

    def waiting(self) -> list[str]:
        """The branches that something waits for: steps in their order, then main."""
        folders = [path.name for path in (self.folder / "waiting").glob("[!.]*") if path.is_dir()]
        return sorted(folders, key=lambda name: (name == MAIN, len(name), name))

    def content(self, revision: str) -> Path:
        return self.folder / "waiting" / revision

    def arrived(self, revision: str, commit: str, weights: str | None = None) -> None:
        """Note that what waits for `revision` stands there as `commit`, and wait no more."""
        with self._changing:
            destination = self.destination
            assert destination is not None, "things are sent to a destination"
            changed = replace(destination, arrived=destination.arrived | {revision: commit})
            self._write(replace(changed, weights=weights) if revision == MAIN else changed)
        shutil.rmtree(self.content(revision), ignore_errors=True)

    def _write(self, destination: Destination) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f".{FILE}"
        aside.write_text(json.dumps(asdict(destination), indent=1) + "\n", encoding="utf-8")
        aside.replace(self.folder / FILE)


def _same(one: str, other: str) -> str | None:
    """The whole name, where the two are the same but for a namespace that one lacks."""
    short, whole = sorted((one, other), key=len)
    return whole if whole == short or ("/" not in short and whole.endswith(f"/{short}")) else None
