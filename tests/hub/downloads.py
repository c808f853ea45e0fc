"""Endpoints that give files out, and lists of them."""

import hashlib
import re
from urllib.parse import parse_qs

from .store import Commit, File, HubError, pointer
from .web import Request, Response, json_response


def resolve(request: Request) -> Response:
    """A file, or the range of it that is asked for.

    The real Hub sends large files on to another host. Here they come at once, with the headers that say the same.
    """
    repository = request.downloadable()
    commit = request.commit(repository)
    file = repository.file(commit, request.parts["path"])
    headers = {
        "X-Repo-Commit": commit.sha,
        "ETag": f'"{file.oid}"',
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream" if file.lfs else "text/plain; charset=utf-8",
    }
    if file.lfs:
        headers |= {"X-Linked-ETag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
    content = request.store.contents[file.sha256]
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    return _part(content, asked, headers) if asked else Response(200, content, headers)


def _part(content: bytes, asked: re.Match[str], headers: dict[str, str]) -> Response:
    first, last = asked.groups()
    start = int(first) if first else max(len(content) - int(last or 0), 0)
    end = min(int(last), len(content) - 1) if first and last else len(content) - 1
    if start > end:
        raise HubError(416, "Range not satisfiable", headers={"Content-Range": f"bytes */{len(content)}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
    return Response(206, content[start : end + 1], headers)


def _entry(commit: Commit, path: str, expand: bool) -> dict:
    """A file or folder as lists describe it."""
    file = commit.files.get(path)
    entry = _folder(commit, path) if file is None else _file(file, path)
    if expand:
        changed = commit if file is None else commit.last_change(path)
        entry["lastCommit"] = {"id": changed.sha, "title": changed.title, "date": changed.date}
    return entry


def _file(file: File, path: str) -> dict:
    entry = {"type": "file", "path": path, "size": file.size, "oid": file.blob}
    if file.lfs:
        size = len(pointer(file.sha256, file.size))
        entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": size}
    return entry


def _folder(commit: Commit, path: str) -> dict:
    inside = "".join(f"{name} {file.blob}\n" for name, file in commit.files.items() if name.startswith(f"{path}/"))
    return {"type": "directory", "path": path, "size": 0, "oid": hashlib.sha1(inside.encode()).hexdigest()}


def _folders(commit: Commit) -> set[str]:
    parts = [path.split("/") for path in commit.files]
    return {"/".join(names[:depth]) for names in parts for depth in range(1, len(names))}


def tree(request: Request) -> Response:
    """What lies in a folder, or with ``recursive`` everything below it."""
    commit = request.commit(request.readable())
    folder = (request.parts.get("path") or "").strip("/")
    folders = _folders(commit)
    if folder and folder not in folders:
        raise HubError(404, f"{folder} does not exist on this revision", "EntryNotFound")
    within = f"{folder}/" if folder else ""
    found = [path for path in sorted(folders | commit.files.keys()) if path.startswith(within)]
    if not _true(request.query.get("recursive")):
        found = [path for path in found if "/" not in path[len(within) :]]
    expand = _true(request.query.get("expand"))
    return json_response([_entry(commit, path, expand) for path in found])


def paths_info(request: Request) -> Response:
    """Descriptions of those of the paths that exist."""
    commit = request.commit(request.readable())
    if "json" in request.headers.get("content-type", ""):
        body = request.json()
        paths, expand = body["paths"], bool(body.get("expand"))
    else:
        form = parse_qs(request.body.decode())
        paths, expand = form.get("paths", []), _true(form.get("expand", [""])[0])
    folders = _folders(commit)
    names = [path.strip("/") for path in paths]
    return json_response([_entry(commit, name, expand) for name in names if name in commit.files or name in folders])


def _true(value: str | None) -> bool:
    return (value or "").lower() in ("1", "true")
