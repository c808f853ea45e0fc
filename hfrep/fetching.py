"""One string names a model, a tokenizer or an adapter everywhere: a folder, or a place on the Hub.

::

    runs/mlm/model            a folder; where there is one, it hides a repository of the same name
    me/tiny                   a repository on the Hub
    me/tiny@step-500          at a branch, a tag or a commit of 40 digits
    me/adapters/cola/lora     a folder in it
    me/adapters/cola@v1       both

`fetched` gives the folder on this machine, and all else opens folders only. A name means the same commit as long as a
process lives, however the branch moves meanwhile. Of a repository only what a model, a tokenizer or an adapter consists
of is fetched; what is in huggingface_hub's cache already is not fetched again, and without a network the cache is all
there is. The token is huggingface_hub's own, from ``HF_TOKEN`` or ``hf auth login``.
"""

import difflib
import functools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from http import HTTPStatus
from pathlib import Path

from httpx2 import HTTPError
from huggingface_hub import HfApi, constants, get_cached_repo_tree, get_token, snapshot_download
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    RevisionResolutionError,
)

from hfrep.errors import ConfigError, HfrepError, HubError
from hfrep.network import hub_reachable

WHERE = "--model_name_or_path"
MODEL, DATASET = "model", "dataset"
PART = r"[\w-][\w.-]*"
NAME = re.compile(rf"(?P<repository>{PART}(/{PART})?)(?P<subfolder>(/{PART})*)(@(?P<revision>[^@\s]+))?", re.ASCII)
DESCRIPTIONS = ("*.json", "*.txt", "*.model", "*.jinja")  # configurations and tokenizers
# Weights in the order of preference, as from_pretrained has it.
WEIGHTS = (
    ("model.safetensors", "model-*-of-*.safetensors", "adapter_model.safetensors"),
    ("pytorch_model.bin", "pytorch_model-*-of-*.bin", "adapter_model.bin"),
)
MARKS = ("config.json", "adapter_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json")
NAMED = 8  # revisions or folders that an error names
LOGIN = "`hf auth login`, or set HF_TOKEN"


@dataclass(frozen=True)
class HubName:
    """A place on the Hub.

    Attributes:
        repository: ``org/name``, or ``name`` of the few that are older than organizations.
        subfolder: of the repository; empty for its root.
        revision: branch, tag or commit; None for the main branch.
    """

    repository: str
    subfolder: str = ""
    revision: str | None = None

    @classmethod
    def parse(cls, name: str) -> "HubName | None":
        """What `name` says; None where it is none of the Hub."""
        match = NAME.fullmatch(name)
        if match is None:
            return None
        return cls(match["repository"], match["subfolder"].removeprefix("/"), match["revision"])

    def __str__(self) -> str:
        place = f"{self.repository}/{self.subfolder}" if self.subfolder else self.repository
        return f"{place}@{self.revision}" if self.revision else place


def fetched(name: str, *, where: str = WHERE, what: str = "model", weights: bool = True) -> Path:
    """The folder on this machine that holds what `name` says, fetched from the Hub where it is not here yet.

    Args:
        where, what: how an error calls the setting, and what it names.
        weights: fetch these too.

    Raises:
        ConfigError: there is no such folder, or none of it in the cache while the Hub is out of reach, or nothing in it
            that could be opened.
        HubError: the Hub knows no such repository or revision, or does not let this user read it.
    """
    if Path(name).is_dir():
        return Path(name)
    hub = HubName.parse(name)
    if hub is None:
        raise _no_folder(name, where, what)
    with _told(name, hub, where, what):
        commit = _commit(hub.repository, hub.revision, constants.HF_HUB_CACHE)
        root = _snapshot(replace(hub, revision=commit), weights, constants.HF_HUB_CACHE)
    folder = root / hub.subfolder
    if not any((folder / mark).is_file() for mark in MARKS):
        raise _nothing_there(hub, _paths(hub.repository, commit, root), where, what)
    return folder


def fetched_dataset(name: str, files: Sequence[str], *, where: str, what: str) -> Path:
    """The folder on this machine that `name` says, a folder or a dataset of the Hub, with those of its files.

    Args:
        files: names or patterns; what is not there is not fetched.
        where, what: how an error calls the setting, and what it names.

    Raises:
        ConfigError, HubError: as `fetched` does.
    """
    if Path(name).is_dir():
        return Path(name)
    hub = HubName.parse(name)
    if hub is None or hub.subfolder:
        raise _no_folder(name, where, what)
    with _told(name, hub, where, what, DATASET):
        commit = _commit(hub.repository, hub.revision, constants.HF_HUB_CACHE, DATASET)
        return _complete(hub.repository, commit, DATASET, list(files))


def commit_of(name: str) -> str | None:
    """The commit that `name` stands for in this process, 40 hex digits; None for a folder.

    Raises:
        ConfigError, HubError: as `fetched` does.
    """
    hub = None if Path(name).is_dir() else HubName.parse(name)
    if hub is None:
        return None
    with _told(name, hub, WHERE, "model"):
        return _commit(hub.repository, hub.revision, constants.HF_HUB_CACHE)


def pinned(name: str) -> str:
    """`name` so that it means the same tomorrow and from elsewhere: a folder's whole path, or with the commit.

    Raises:
        ConfigError, HubError: as `fetched` does.
    """
    hub = None if Path(name).is_dir() else HubName.parse(name)
    return str(Path(name).resolve()) if hub is None else str(replace(hub, revision=commit_of(name)))


@functools.cache
def _commit(repository: str, revision: str | None, cache: str, kind: str = MODEL) -> str:
    """The commit of a revision; asked once a process, so that all parts of a model are of the same one."""
    return (
        HfApi()
        .resolve_revision(repository, repo_type=kind, revision=revision, local_files_only=not hub_reachable())
        .resolved
    )


@functools.cache
def _snapshot(hub: HubName, weights: bool, cache: str) -> Path:
    """The root of the repository in the `cache`; `hub` has a commit. There need not be anything in it."""
    assert hub.revision is not None, "a commit"
    root = _download(hub, DESCRIPTIONS)
    if weights:
        below = f"{hub.subfolder}/" if hub.subfolder else ""
        paths = _paths(hub.repository, hub.revision, root)
        for kind in WEIGHTS:
            if any(fnmatchcase(path, below + pattern) for path in paths for pattern in kind):
                return _download(hub, kind)
    return root


def _download(hub: HubName, patterns: Sequence[str]) -> Path:
    assert hub.revision is not None, "a commit"
    below = f"{hub.subfolder}/" if hub.subfolder else ""
    return _complete(
        hub.repository,
        hub.revision,
        MODEL,
        [below + pattern for pattern in patterns],
        [f"{below}*/*"],  # since a star matches slashes too
    )


def _complete(repository: str, commit: str, kind: str, wanted: list[str], unwanted: list[str] | None = None) -> Path:
    """The root of the repository in the cache, with the files of it whose names fit what is wanted."""

    def download(*, from_cache: bool) -> Path:
        return Path(
            snapshot_download(
                repository,
                repo_type=kind,
                revision=commit,
                allow_patterns=wanted,
                ignore_patterns=unwanted,
                local_files_only=from_cache,
            )
        )

    try:
        get_cached_repo_tree(repository, repo_type=kind, revision=commit)
        return download(from_cache=True)  # complete, as the tree shows: no request, no progress bars
    except (CachedRepoTreeNotFoundError, LocalEntryNotFoundError):
        return download(from_cache=not hub_reachable())


def _paths(repository: str, commit: str, root: Path) -> list[str]:
    """The files of a repository, as far as they are known here."""
    try:
        return [file.path for file in get_cached_repo_tree(repository, revision=commit)]
    except CachedRepoTreeNotFoundError:
        return [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]


@contextmanager
def _told(name: str, hub: HubName, where: str, what: str, kind: str = MODEL) -> Iterator[None]:
    """Each way in which the Hub, or its cache, does not give what was asked for is one sentence."""
    try:
        yield
    except HFValidationError:
        raise _no_folder(name, where, what) from None
    except GatedRepoError:
        raise HubError(
            where=where,
            expected="a repository that you may read",
            found=f"{hub.repository}, which is gated",
            do=f"ask for access at {constants.ENDPOINT}/{hub.repository}, and log in with {LOGIN}",
        ) from None
    except RepositoryNotFoundError:
        private = "the token may not read" if get_token() else "asks for a token"
        noun = DATASET if kind == DATASET else "repository"  # a model may have the name that no dataset has
        raise HubError(
            where=where,
            expected=f"a folder with a {what}, or the name of a {noun} on the Hub",
            found=f"no folder {name}, and no {noun} {hub.repository} there, unless a private one that {private}",
            do=f"correct the name, or log in with {LOGIN}",
        ) from None
    except RevisionNotFoundError:
        raise _no_revision(hub, where, kind) from None
    except (RevisionResolutionError, LocalEntryNotFoundError) as error:
        partly = isinstance(error, IncompleteSnapshotError)
        raise ConfigError(
            where=where,
            expected="a folder, or a Hub id that can be fetched or is in the cache",
            found=f"{name!r}, which is no folder here and {'only in part' if partly else 'not'} in the cache, and the "
            "Hub out of reach",
            do=f"correct the path, or fetch the {what} while there is a network",
        ) from None
    except HfHubHTTPError as error:
        raise _refused(error, where) from None
    except HTTPError as error:
        raise _no_answer(f"none ({type(error).__name__})", where) from None


def _no_folder(name: str, where: str, what: str) -> HfrepError:
    expected = f"a folder with a {what}, or a Hub id"
    return ConfigError(where=where, expected=expected, found=f"no folder {name}", do="correct the path")


def _no_revision(hub: HubName, where: str, kind: str) -> HfrepError:
    try:
        refs = HfApi().list_repo_refs(hub.repository, repo_type=kind)
        known = [ref.name for ref in (*refs.branches, *refs.tags)]
    except (HTTPError, OSError):
        known = []
    return HubError(
        where=where,
        expected=f"a branch, a tag or a whole commit of {hub.repository}",
        found=f"{hub.revision}",
        do=_one_of(str(hub.revision), known) or "correct it",
    )


def _nothing_there(hub: HubName, paths: Sequence[str], where: str, what: str) -> HfrepError:
    folders = {path.rpartition("/")[0] for path in paths if path.rpartition("/")[2] in MARKS}
    names = [str(replace(hub, subfolder=folder)) for folder in folders]
    return ConfigError(
        where=where,
        expected=f"a {what} in {hub}",
        found="none",
        do=_one_of(str(hub), names) or "name another repository",
    )


def _refused(error: HfHubHTTPError, where: str) -> HfrepError:
    status = error.response.status_code
    if status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return _no_answer(f"status {status}", where)
    return HubError(
        where=where,
        expected="a token that the Hub takes",
        found=f"one that it refuses ({status})",
        do=f"log in anew with {LOGIN}",
    )


def _no_answer(found: str, where: str) -> HfrepError:
    return HubError(where=where, expected="an answer of the Hub", found=found, do="try again later")


def _one_of(name: str, known: Sequence[str]) -> str:
    """What to give instead of `name`, the nearest first; empty where there is nothing."""
    nearest = sorted(known, key=lambda one: (-difflib.SequenceMatcher(None, name, one).ratio(), one))
    rest = f" or {len(nearest) - NAMED} others" if len(nearest) > NAMED else ""
    return f"give {', '.join(nearest[:NAMED])}{rest}" if nearest else ""
