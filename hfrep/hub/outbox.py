"""What is on its way to the Hub waits on disk until it has arrived, so that no kill and no network loses it.

In a run's folder::

    outbox/
        repository.json      what it is for, and what has arrived
        waiting/step-500/    what is to stand in the branch step-500
        waiting/main/
        sending/step-250/    the same, once an attempt has been made: what waits may be replaced, this may not

A kill leaves what waits and what is being sent; the next process sends both.

``repository.json``, where "weights" tells the main branch's model from a later one of the same run::

    {"repository": "me/tiny", "kind": "model", "private": null, "weights": "9f3b…", "language": ["en"],
     "license": "apache-2.0", "arrived": {"main": "83ac…"}}
"""

import json
import shlex
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from hfrep.errors import CheckpointError

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
        files: what was sent to the main branch last, of which the next time what is missing is removed there.
    """

    repository: str
    kind: Literal["model", "dataset"] = "model"
    private: bool | None = None
    weights: str | None = None
    language: list[str] | None = None
    license: str | None = None
    arrived: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)


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

    def require(self, destination: Destination) -> None:
        """Check that things may be sent to `destination`.

        Raises:
            CheckpointError: something still waits for another one.
        """
        before = self.destination
        if before is None or _same(before.repository, destination.repository) or not (waiting := self.waiting()):
            return
        raise CheckpointError(
            where=str(self.folder),
            expected=f"what still waits for {before.repository} to go there ({', '.join(waiting)})",
            found=f"--hub_model_id {destination.repository}",
            do=f"finish it with: {push_command(self.run_folder)}, or remove {self.folder}",
        )

    def address(self, destination: Destination) -> None:
        """Send to `destination` from now on; what has arrived elsewhere counts no more. `require` comes before."""
        with self._changing:
            before = self.destination
            if before is not None and (name := _same(before.repository, destination.repository)):
                destination = replace(
                    destination, repository=name, arrived=before.arrived, weights=before.weights, files=before.files
                )
            self._write(destination)

    @contextmanager
    def filling(self, branch: str) -> Iterator[Path]:
        """An empty folder that waits for `branch` once it is filled, in place of what did until then."""
        aside, place = self.folder / "filling", self.folder / "waiting" / branch
        shutil.rmtree(aside, ignore_errors=True)  # a kill may have left one
        aside.mkdir(parents=True)
        try:
            yield aside
            with self._changing:
                shutil.rmtree(place, ignore_errors=True)
                place.parent.mkdir(exist_ok=True)
                aside.rename(place)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def waiting(self) -> list[str]:
        """The branches that have not got all that is meant for them: steps in their order, then main."""
        names = {path.name for part in ("waiting", "sending") for path in (self.folder / part).glob("[!.]*")}
        return sorted(names, key=lambda name: (name == MAIN, len(name), name))

    def take(self, branch: str) -> Path:
        """The newest that waits for `branch`, which nobody replaces any more."""
        waiting, sending = self.folder / "waiting" / branch, self.folder / "sending" / branch
        with self._changing:
            if waiting.is_dir():
                shutil.rmtree(sending, ignore_errors=True)
                sending.parent.mkdir(exist_ok=True)
                waiting.rename(sending)
        return sending

    def arrived(self, branch: str, commit: str, *, weights: str | None = None, files: Sequence[str] = ()) -> None:
        """Note that what was taken for `branch` stands there as `commit`, and keep it no more."""
        with self._changing:
            destination = self.destination
            assert destination is not None, "things are sent to a destination"
            changed = replace(destination, arrived=destination.arrived | {branch: commit})
            self._write(replace(changed, weights=weights, files=list(files)) if branch == MAIN else changed)
            sending = self.folder / "sending" / branch
            if sending.is_dir():
                gone = sending.with_name(f".{branch}")
                shutil.rmtree(gone, ignore_errors=True)  # a kill may have left it
                sending.rename(gone)  # at once: a half of it must not be sent again
                shutil.rmtree(gone, ignore_errors=True)

    def _write(self, destination: Destination) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f".{FILE}"
        aside.write_text(json.dumps(asdict(destination), indent=1) + "\n", encoding="utf-8")
        aside.replace(self.folder / FILE)


def push_command(run_folder: Path) -> str:
    """What a user types to send what the folder of a run holds."""
    return f"python recipes/push.py {shlex.quote(str(run_folder))}"


def _same(one: str, other: str) -> str | None:
    """The whole name, where the two are the same but for a namespace that one lacks."""
    short, whole = sorted((one, other), key=len)
    return whole if whole == short or ("/" not in short and whole.endswith(f"/{short}")) else None
