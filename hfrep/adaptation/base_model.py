"""The model that an adapter belongs to, known by the digest of its weight files, wherever it lies."""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download, try_to_load_from_cache
from transformers.utils.hub import extract_commit_hash

from hfrep.errors import CheckpointError
from hfrep.network import hub_reachable

# What from_pretrained reads, in its order of preference; other files may lie beside.
WEIGHT_FILES = (r"model(-\d+-of-\d+)?\.safetensors", r"pytorch_model(-\d+-of-\d+)?\.bin")
PATTERNS = (["*.json", "model*.safetensors"], ["*.json", "pytorch_model*.bin"])
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


def model_folder(name: str, revision: str | None) -> Path | None:
    """Where the files of the model called `name`, a folder or a Hub id, lie on this machine, fetched if they can be.

    None where there is no such folder, and the Hub does not know the name or is out of reach.
    """
    if Path(name).is_dir():
        return Path(name)
    try:
        for patterns in PATTERNS:
            folder = Path(
                snapshot_download(
                    name, revision=revision, allow_patterns=patterns, local_files_only=not hub_reachable()
                )
            )
            if weight_files(folder):
                return folder
    except (OSError, ValueError):  # what huggingface_hub raises derives from these
        return None
    return None


def commit(name: str) -> str | None:
    """The commit of the Hub's model called `name` that is in the cache; None for a folder."""
    file = None if Path(name).is_dir() else try_to_load_from_cache(name, "config.json")
    found: str | None = extract_commit_hash(file, None) if isinstance(file, str) else None
    return found


def find_base(weights: Weights, name: str, revision: str | None) -> Path | None:
    """A folder with the model that has `weights`: what `name` says, or one below ``runs``; None where there is none."""
    folder = model_folder(name, revision)
    return next((place for place in (folder, *_models_below(SEARCHED)) if place and _has(place, weights)), None)


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
