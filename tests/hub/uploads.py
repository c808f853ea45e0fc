"""Endpoints that bring files in: which way each goes, LFS objects, commits."""

import base64
import hashlib
import json
from collections.abc import Iterator

from .attributes import goes_by_lfs, ignored
from .store import Changes, HubError, Repository
from .web import Request, Response, json_response, prefix


def preupload(request: Request) -> Response:
    """Say for each file whether it goes by LFS, whether it is ignored, and what is there by that name."""
    repository = request.writable()
    commit = request.commit(repository)
    body = request.json()
    attributes = request.store.text(commit, ".gitattributes")
    gitignore = body.get("gitIgnore", request.store.text(commit, ".gitignore"))
    answers = []
    for file in body["files"]:
        path = file["path"]
        by_lfs = goes_by_lfs(path, file["size"], base64.b64decode(file.get("sample", "")), attributes)
        answer = {"path": path, "uploadMode": "lfs" if by_lfs else "regular", "shouldIgnore": ignored(path, gitignore)}
        if path in commit.files:
            answer["oid"] = commit.files[path].oid
        answers.append(answer)
    return json_response({"files": answers, "commitOid": commit.sha})


def lfs_batch(request: Request) -> Response:
    """Where to upload each object. What is there needs no action."""
    repository = request.writable()
    place = f"{request.base}/{prefix(repository.repo_type)}{repository.name}.git/info/lfs"
    objects = []
    for wanted in request.json()["objects"]:
        answer = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in repository.lfs:
            # The real address of an upload belongs to another host and is signed: no token is sent there.
            upload = {"href": f"{request.base}/_lfs/{repository.repo_type}s/{repository.name}/{wanted['oid']}"}
            answer["actions"] = {"upload": upload, "verify": {"href": f"{place}/verify"}}
        objects.append(answer)
    return json_response({"transfer": "basic", "objects": objects})


def lfs_upload(request: Request) -> Response:
    repository = request.store.repositories.get((request.repo_type, request.parts["name"]))
    oid = request.parts["oid"]
    if repository is None or hashlib.sha256(request.body).hexdigest() != oid:
        raise HubError(400, "What was received has another hash")
    repository.lfs.add(request.store.put(request.body))
    return Response(headers={"ETag": f'"{oid}"'})


def lfs_verify(request: Request) -> Response:
    repository = request.writable()
    body = request.json()
    if body["oid"] not in repository.lfs or len(request.store.contents[body["oid"]]) != body["size"]:
        raise HubError(404, f"No such LFS object: {body['oid']}")
    return json_response({"success": True})


def commit(request: Request) -> Response:
    """Take a commit: one line of JSON for its header, one for each change."""
    repository = request.writable()
    if request.query.get("create_pr"):
        raise HubError(501, "This Hub has no pull requests")
    branch = request.parts["revision"].removeprefix("refs/heads/")
    if branch not in repository.branches:
        raise HubError(404, f"Invalid rev id: {branch}", "RevisionNotFound")
    lines = _lines(request.body)
    key, header = next(lines, ("", {}))
    if key != "header" or not header.get("summary"):
        raise HubError(400, "A commit begins with a header that has a summary")
    if header.get("parentCommit", repository.branches[branch]) != repository.branches[branch]:
        raise HubError(412, "A commit has happened since. Please refresh and try again.")
    made = request.store.commit(
        repository,
        branch,
        _changes(request, repository, lines),
        header["summary"],
        header.get("description", ""),
        request.signed_in().user,
    )
    url = f"{request.base}/{prefix(repository.repo_type)}{repository.name}/commit/{made.sha}"
    return json_response({"success": True, "commitOid": made.sha, "commitUrl": url, "hookOutput": ""})


def _lines(body: bytes) -> Iterator[tuple[str, dict]]:
    for line in body.splitlines():
        try:
            content = json.loads(line)
        except ValueError as error:
            raise HubError(400, f"Malformed line in a commit: {error}") from error
        yield content["key"], content["value"]


def _changes(request: Request, repository: Repository, lines: Iterator[tuple[str, dict]]) -> Changes:
    changes = Changes()
    for key, value in lines:
        path = value["path"]
        match key:
            case "file":
                changes.files[path] = request.store.regular(base64.b64decode(value["content"]))
            case "lfsFile":
                changes.files[path] = request.store.large(repository, value["oid"])
            case "deletedFile":
                changes.files[path] = None
            case "deletedFolder":
                changes.folders.append(path)
            case _:
                raise HubError(400, f"Unknown change in a commit: {key}")
    return changes
