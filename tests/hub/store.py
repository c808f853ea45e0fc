"""Repositories, their commits and the contents of files, in memory."""

import hashlib
import itertools
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from .attributes import LFS, default_attributes, lfs_patterns, matches


class HubError(Exception):
    """An answer that is an error.

    Args:
        status: HTTP status.
        message: The words, in the body and in the header X-Error-Message.
        code: The header X-Error-Code, from which the client knows what was not found.
        headers: More headers.
        body: More of the body.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        headers: dict[str, str] | None = None,
        body: dict | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = headers or {}
        self.body = body or {}


@dataclass(frozen=True)
class File:
    """One file of a commit. ``blob`` is git's name of what git holds: the content, or the pointer to it."""

    size: int
    sha256: str
    blob: str
    lfs: bool

    @property
    def oid(self) -> str:
        """The name by which clients see whether a file changed."""
        return self.sha256 if self.lfs else self.blob


@dataclass(frozen=True)
class Commit:
    sha: str
    parent: "Commit | None"
    title: str
    message: str
    author: str
    date: str
    files: dict[str, File]

    def history(self) -> Iterator["Commit"]:
        """This commit and all before it."""
        commit: Commit | None = self
        while commit is not None:
            yield commit
            commit = commit.parent

    def last_change(self, path: str) -> "Commit":
        """The commit that made the file what it is."""
        changed = self
        for commit in self.history():
            if commit.files.get(path) != self.files[path]:
                break
            changed = commit
        return changed


@dataclass
class Changes:
    """What a commit is to do: files (None: deleted) and deleted folders."""

    files: dict[str, File | None] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)


def pointer(sha256: str, size: int) -> bytes:
    """What git holds of a file that goes by LFS."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Repository:
    repo_type: str
    name: str
    private: bool
    gated: bool | str = False
    created: str = field(default_factory=now)
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    lfs: set[str] = field(default_factory=set)
    """SHA-256 of the LFS objects uploaded to this repository."""

    @property
    def namespace(self) -> str:
        return self.name.split("/")[0]

    def at(self, revision: str) -> Commit:
        """The commit of a branch, a tag, or a hash of at least seven digits."""
        name = re.sub("^refs/(heads|tags)/", "", revision)
        sha = self.branches.get(name) or self.tags.get(name)
        if sha is None and re.fullmatch("[0-9a-f]{7,40}", revision):
            sha = next((known for known in self.commits if known.startswith(revision)), None)
        if sha is None:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[sha]

    def file(self, commit: Commit, path: str) -> File:
        if path not in commit.files:
            # The commit tells the client where to remember that there is no such file.
            raise HubError(404, "Entry not found", "EntryNotFound", {"X-Repo-Commit": commit.sha})
        return commit.files[path]


class Store:
    """All repositories, and contents by their SHA-256."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.contents: dict[str, bytes] = {}
        self.repositories: dict[tuple[str, str], Repository] = {}
        self._numbers = itertools.count()

    def clear(self) -> None:
        self.contents.clear()
        self.repositories.clear()

    def put(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        self.contents[sha256] = content
        return sha256

    def regular(self, content: bytes) -> File:
        """A file that git itself holds."""
        return File(len(content), self.put(content), git_hash(content), lfs=False)

    def large(self, repository: Repository, sha256: str) -> File:
        """A file uploaded by LFS before."""
        if sha256 not in repository.lfs:
            raise HubError(400, f"LFS pointer pointed to a file that does not exist: {sha256}")
        size = len(self.contents[sha256])
        return File(size, sha256, git_hash(pointer(sha256, size)), lfs=True)

    def create(self, repo_type: str, name: str, private: bool) -> Repository:
        repository = Repository(repo_type, name, private)
        self.repositories[repo_type, name] = repository
        attributes = self.regular(default_attributes(repo_type).encode())
        self._append(repository, "main", None, {".gitattributes": attributes}, "initial commit", "", "system")
        return repository

    def text(self, commit: Commit, path: str) -> str:
        """A file of text, empty if there is none."""
        file = commit.files.get(path)
        return self.contents[file.sha256].decode() if file else ""

    def commit(
        self, repository: Repository, branch: str, changes: Changes, title: str, message: str, author: str
    ) -> Commit:
        """Commit to a branch, and track in ``.gitattributes`` what goes by LFS without a pattern there."""
        head = repository.commits[repository.branches[branch]]
        files = dict(head.files)
        for folder in changes.folders:
            inside = [path for path in files if path.startswith(folder.rstrip("/") + "/")]
            if not inside:
                raise _nothing_to_delete(folder)
            for path in inside:
                del files[path]
        for path, file in changes.files.items():
            if file is not None:
                files[path] = file
            elif files.pop(path, None) is None:
                raise _nothing_to_delete(path)
        return self._append(repository, branch, head, self._tracked(files), title, message, author)

    def _tracked(self, files: dict[str, File]) -> dict[str, File]:
        attributes = self.contents[files[".gitattributes"].sha256].decode() if ".gitattributes" in files else ""
        patterns = lfs_patterns(attributes)
        untracked = [path for path, file in sorted(files.items()) if file.lfs and not matches(path, patterns)]
        if not untracked:
            return files
        lines = "".join(f"{path} {LFS}\n" for path in untracked)
        return files | {".gitattributes": self.regular((attributes + lines).encode())}

    def _append(
        self,
        repository: Repository,
        branch: str,
        parent: Commit | None,
        files: dict[str, File],
        title: str,
        message: str,
        author: str,
    ) -> Commit:
        commit = Commit("", parent, title, message, author, now(), dict(sorted(files.items())))
        # The number keeps two like commits of one millisecond apart.
        content = [parent and parent.sha, title, message, author, commit.date, next(self._numbers)]
        content.append([(path, file.blob) for path, file in commit.files.items()])
        commit = replace(commit, sha=hashlib.sha1(json.dumps(content).encode()).hexdigest())
        repository.commits[commit.sha] = commit
        repository.branches[branch] = commit.sha
        return commit


def _nothing_to_delete(path: str) -> HubError:
    return HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
