"""The model that an adapter or a head belongs to, known by the digest of its weight files, wherever it lies."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hfrep.errors import CheckpointError, HfrepError
from hfrep.fetching import fetched

# What from_pretrained reads, in its order of preference; other files may lie beside.
WEIGHT_FILES = (r"model(-\d+-of-\d+)?\.safetensors", r"pytorch_model(-\d+-of-\d+)?\.bin")
SEARCHED = Path("runs")
SEARCH_DEPTH = 6  # folders below `SEARCHED`: task, adaptation, seed and the like


@dataclass(frozen=True)
class Weights:
    """What tells weights from others: hex BLAKE2b of the bytes of their files in the order of names, and bytes."""

    digest: str
    size: int

    @classmethod
    def of(cls, folder: Path) -> "Weights":
        """Those of the model in `folder`.

        Raises:
            CheckpointError: there are none.
        """
        files = weight_files(folder)
        if not files:
            raise CheckpointError(
                where=str(folder),
                expected="the weights of the base model",
                found="no model.safetensors or pytorch_model.bin",
                do="name the folder of the base model",
            )
        digest = hashlib.blake2b()
        for file in files:
            with open(file, "rb") as content:
                while piece := content.read(1 << 22):
                    digest.update(piece)
        return cls(digest.hexdigest(), _size(files))


def weight_files(folder: Path) -> list[Path]:
    """The files of the weights in `folder`, in the order of their names; empty where there are none."""
    for pattern in WEIGHT_FILES:
        files = sorted(path for path in folder.glob("*") if re.fullmatch(pattern, path.name))
        if files:
            return files
    return []


def find_base(weights: Weights, names: Sequence[str]) -> Path | None:
    """A folder with the model that has `weights`: what one of `names` says, or one below ``runs``; None for none."""
    return next((place for place in _places(names) if _has(place, weights)), None)


def means(name: str, place: Path) -> bool:
    """Whether `name`, a folder or a Hub id, is `place` on this machine."""
    try:
        return fetched(name) == place
    except HfrepError:
        return False


def _places(names: Sequence[str]) -> Iterator[Path]:
    for name in names:
        try:
            yield fetched(name)
        except HfrepError:  # it is no more where it was
            continue
    yield from _models_below(SEARCHED)


def _has(folder: Path, weights: Weights) -> bool:
    files = weight_files(folder)
    return bool(files) and _size(files) == weights.size and Weights.of(folder) == weights


def _models_below(root: Path) -> Iterator[Path]:
    for name, folders, files in os.walk(root):
        folder = Path(name)
        if "config.json" in files:
            yield folder
        deep = len(folder.relative_to(root).parts) >= SEARCH_DEPTH
        folders[:] = [] if deep else sorted(name for name in folders if not name.startswith("."))


def _size(files: list[Path]) -> int:
    return sum(file.stat().st_size for file in files)
