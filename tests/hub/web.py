"""A request as the endpoints see it, what they answer, and who may have what."""

import json
from dataclasses import dataclass, field

from .accounts import Account
from .store import Commit, HubError, Repository, Store

OBSERVER = "X-Local-Hub-Observer"  # sent by the tests' own view of the Hub, which no fault and no log is to see


@dataclass
class Request:
    """One request. ``parts`` are the named pieces of its path, decoded."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    account: Account | None
    base: str
    store: Store
    parts: dict[str, str] = field(default_factory=dict)

    def json(self) -> dict:
        try:
            return json.loads(self.body or b"{}")
        except ValueError as error:
            raise HubError(400, f"Malformed JSON: {error}") from error

    @property
    def repo_type(self) -> str:
        return (self.parts.get("kind") or "models/").strip("/").removesuffix("s")

    def signed_in(self) -> Account:
        if self.account is None:
            raise unauthorized(self.path)
        return self.account

    def readable(self) -> Repository:
        """The repository of the path, if whoever asks may see it. Private ones of others look like none."""
        repository = self.store.repositories.get((self.repo_type, self.parts["name"]))
        if repository and (not repository.private or self.belongs(repository)):
            return repository
        raise HubError(404, "Repository not found", "RepoNotFound") if self.account else unauthorized(self.path)

    def downloadable(self) -> Repository:
        """The repository of the path, if whoever asks may have its files."""
        repository = self.readable()
        if repository.gated and not self.belongs(repository):
            message = f"Access to {repository.repo_type} {repository.name} is restricted."
            raise HubError(403 if self.account else 401, message, "GatedRepo")
        return repository

    def belongs(self, repository: Repository) -> bool:
        return self.account is not None and self.account.belongs_to(repository.namespace)

    def writable(self) -> Repository:
        """The repository of the path, if whoever asks may change it."""
        account = self.signed_in()
        repository = self.readable()
        if account.role == "read":
            raise HubError(403, "Forbidden: you must use a write token to upload to a repository.")
        if not self.belongs(repository):
            raise HubError(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
        return repository

    def commit(self, repository: Repository) -> Commit:
        return repository.at(self.parts.get("revision") or "main")


@dataclass
class Response:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def json_response(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(status, json.dumps(value).encode(), {"Content-Type": "application/json"} | (headers or {}))


def error_response(error: HubError) -> Response:
    headers = dict(error.headers)
    # A header is latin-1; messages may quote any name.
    headers["X-Error-Message"] = error.message.encode("ascii", "replace").decode()
    if error.code:
        headers["X-Error-Code"] = error.code
    return json_response({"error": error.message} | error.body, error.status, headers)


def unauthorized(path: str) -> HubError:
    """What somebody without a token is told.

    The real Hub sends no code here: over https the client takes any 401 about a repository for one that is not there.
    It does not over http, so the code has to say it.
    """
    about_repository = path.startswith(("/api/models/", "/api/datasets/")) or "/resolve/" in path
    return HubError(401, "Invalid username or password.", "RepoNotFound" if about_repository else None)


def prefix(repo_type: str) -> str:
    """What stands before the names of repositories in the addresses of pages and files."""
    return "" if repo_type == "model" else f"{repo_type}s/"
