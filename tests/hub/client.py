"""The Hub as tests see it. What it offers is listed in the docstring of the package."""

import base64
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from .accounts import ACCOUNTS, TOKEN
from .faults import Fault
from .web import OBSERVER, prefix

# Settings of the process that runs the tests: each would turn a client away from this Hub.
FOREIGN = ("HF_", "HUGGING", "TRANSFORMERS_OFFLINE", "TRANSFORMERS_CACHE")


class LocalHub:
    """A Hub that runs already. Clients may make one too: ``LocalHub(os.environ["HF_ENDPOINT"])``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._open = build_opener(ProxyHandler({})).open

    def environment(self, home: Path, token: str | None = TOKEN) -> dict[str, str]:
        """The environment of a client process with ``home`` as its own HF_HOME."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        return (
            kept
            | {
                "HF_ENDPOINT": self.url,
                "HF_HOME": str(home),
                "HF_HUB_OFFLINE": "0",
                "HF_HUB_DISABLE_XET": "1",
                "HF_HUB_DISABLE_TELEMETRY": "1",
                "NO_PROXY": "127.0.0.1",
                "no_proxy": "127.0.0.1",
                "OMP_NUM_THREADS": "1",
            }
            | ({} if token is None else {"HF_TOKEN": token})
        )

    def python(
        self, code: str, home: Path, token: str | None = TOKEN, check: bool = True, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run code in a client process."""
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=self.environment(home, token), capture_output=True, text=True, **options)
        if check and done.returncode:
            raise AssertionError(f"the client failed:\n{done.stdout}\n{done.stderr}")
        return done

    def create(self, repo: str, repo_type: str = "model", private: bool = False) -> None:
        namespace, name = repo.split("/")
        visibility = "private" if private else "public"
        body = {"organization": namespace, "name": name, "type": repo_type, "visibility": visibility}
        self._ask("POST", "/api/repos/create", body, repo)

    def commit(
        self,
        repo: str,
        files: dict[str, bytes | None],
        title: str = "Commit",
        revision: str = "main",
        repo_type: str = "model",
    ) -> str:
        """Write files, or delete those that are None; the new commit's hash."""
        lines: list[dict] = [{"key": "header", "value": {"summary": title}}]
        for path, content in files.items():
            if content is None:
                lines.append({"key": "deletedFile", "value": {"path": path}})
            else:
                value = {"path": path, "content": base64.b64encode(content).decode(), "encoding": "base64"}
                lines.append({"key": "file", "value": value})
        body = "\n".join(map(json.dumps, lines)).encode()
        answer = self._ask("POST", f"{_api(repo, repo_type)}/commit/{quote(revision, safe='')}", body, repo)
        return json.loads(answer)["commitOid"]

    def files(self, repo: str, revision: str = "main", repo_type: str = "model") -> list[str]:
        return [file["rfilename"] for file in self.info(repo, revision, repo_type)["siblings"]]

    def read(self, repo: str, path: str, revision: str = "main", repo_type: str = "model") -> bytes:
        place = f"/{prefix(repo_type)}{repo}/resolve/{quote(revision, safe='')}/{quote(path)}"
        return self._ask("GET", place, repo=repo)

    def info(self, repo: str, revision: str = "main", repo_type: str = "model") -> dict:
        place = f"{_api(repo, repo_type)}/revision/{quote(revision, safe='')}?blobs=true"
        return json.loads(self._ask("GET", place, repo=repo))

    def exists(self, repo: str, repo_type: str = "model") -> bool:
        try:
            self.info(repo, repo_type=repo_type)
        except HTTPError as error:
            if error.code == 404:
                return False
            raise
        return True

    def commits(self, repo: str, revision: str = "main", repo_type: str = "model") -> list[dict]:
        place = f"{_api(repo, repo_type)}/commits/{quote(revision, safe='')}"
        return json.loads(self._ask("GET", place, repo=repo))

    def refs(self, repo: str, repo_type: str = "model") -> dict[str, dict[str, str]]:
        answer = json.loads(self._ask("GET", f"{_api(repo, repo_type)}/refs", repo=repo))
        return {kind: {ref["name"]: ref["targetCommit"] for ref in answer[kind]} for kind in ("branches", "tags")}

    def fail(self, method: str, path: str, **settings: Any) -> ExitStack:
        """Let requests fail from now on. As a context, it takes all faults back at its end."""
        Fault(method, path, **settings)  # here too, so that a mistake is told to whoever made it
        self._ask("POST", "/_hub/faults", {"method": method, "path": path} | settings)
        until = ExitStack()
        until.callback(self.clear_faults)
        return until

    def clear_faults(self) -> None:
        self._ask("DELETE", "/_hub/faults")

    def requests(self) -> list[dict]:
        return json.loads(self._ask("GET", "/_hub/requests"))

    def forget_requests(self) -> None:
        self._ask("DELETE", "/_hub/requests")

    def reset(self) -> None:
        self._ask("POST", "/_hub/reset")

    def _ask(self, method: str, path: str, body: dict | bytes | None = None, repo: str | None = None) -> bytes:
        """Ask as somebody who may write to the repository."""
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        headers = {OBSERVER: "1"} | ({} if repo is None else {"Authorization": f"Bearer {_owner(repo)}"})
        with self._open(Request(self.url + path, data, headers, method=method)) as answer:
            return answer.read()


def _api(repo: str, repo_type: str) -> str:
    return f"/api/{repo_type}s/{repo}"


def _owner(repo: str) -> str:
    namespace = repo.split("/")[0]
    owners = (token for token, one in ACCOUNTS.items() if one.role == "write" and one.belongs_to(namespace))
    return next(owners)
