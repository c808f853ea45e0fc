"""Endpoints about whole repositories: accounts, making and deleting, descriptions, branches and tags."""

from .accounts import Account
from .store import Commit, File, HubError, Repository, pointer
from .web import Request, Response, json_response, prefix


def whoami(request: Request) -> Response:
    return json_response(request.signed_in().described())


def validate_yaml(request: Request) -> Response:
    """Only the absence of metadata is noticed. Errors come from faults with a ``body``."""
    warnings = []
    if not request.json()["content"].lstrip().startswith("---"):
        warnings.append({"message": "empty or missing yaml metadata in repo card"})
    return json_response({"errors": [], "warnings": warnings})


def _named(request: Request, account: Account) -> tuple[str, str]:
    """Kind and full name of the repository that a body is about."""
    body = request.json()
    repo_type = body.get("type") or "model"
    if repo_type not in ("model", "dataset"):
        raise HubError(400, f"This Hub has models and datasets, no {repo_type}s")
    return repo_type, f"{body.get('organization') or account.user}/{body['name']}"


def create(request: Request) -> Response:
    account = request.signed_in()
    repo_type, name = _named(request, account)
    namespace = name.split("/")[0]
    if account.role == "read" or not account.belongs_to(namespace):
        raise HubError(403, f'You don\'t have the rights to create a {repo_type} under the namespace "{namespace}"')
    url = f"{request.base}/{prefix(repo_type)}{name}"
    if (repo_type, name) in request.store.repositories:
        message = f"You already created this {repo_type} repo: {name}"
        raise HubError(409, message, body={"url": url})
    body = request.json()
    private = body.get("visibility") == "private" or bool(body.get("private"))
    repository = request.store.create(repo_type, name, private)
    return json_response({"url": url, "name": name, "id": _identity(repository)})


def delete(request: Request) -> Response:
    repo_type, name = _named(request, request.signed_in())
    request.parts = {"kind": f"{repo_type}s", "name": name}
    request.writable()
    del request.store.repositories[repo_type, name]
    return json_response({"success": True})


def settings(request: Request) -> Response:
    repository = request.writable()
    body = request.json()
    if "visibility" in body or "private" in body:
        repository.private = body.get("visibility") == "private" or bool(body.get("private"))
    repository.gated = body.get("gated", repository.gated)
    return json_response({"private": repository.private, "gated": repository.gated})


def listing(request: Request) -> Response:
    """Repositories of one kind that whoever asks may see, the newest first."""
    query = request.query
    found = []
    for repository in reversed(list(request.store.repositories.values())):
        hidden = repository.private and not request.belongs(repository)
        if hidden or repository.repo_type != request.repo_type:
            continue
        if query.get("author", repository.namespace) == repository.namespace and (
            query.get("search", "").lower() in repository.name.lower()
        ):
            found.append(_description(repository, repository.at("main")))
    return json_response(found[: int(query.get("limit", len(found)))])


def info(request: Request) -> Response:
    repository = request.readable()
    commit = request.commit(repository)
    with_blobs = request.query.get("blobs", "").lower() in ("1", "true")
    siblings = [{"rfilename": path} | (_blob(file) if with_blobs else {}) for path, file in commit.files.items()]
    return json_response(_description(repository, commit) | {"siblings": siblings})


def _identity(repository: Repository) -> str:
    return next(iter(repository.commits))[:24]


def _description(repository: Repository, commit: Commit) -> dict:
    described = {
        "_id": _identity(repository),
        "id": repository.name,
        "author": repository.namespace,
        "sha": commit.sha,
        "lastModified": commit.date,
        "createdAt": repository.created,
        "private": repository.private,
        "gated": repository.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
    }
    return described | ({"modelId": repository.name} if repository.repo_type == "model" else {})


def _blob(file: File) -> dict:
    described = {"blobId": file.blob, "size": file.size}
    if file.lfs:
        size = len(pointer(file.sha256, file.size))
        described["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": size}
    return described


def may_read(request: Request) -> Response:
    request.downloadable()
    return json_response({})


def may_write(request: Request) -> Response:
    request.writable()
    return json_response({})


def refs(request: Request) -> Response:
    repository = request.readable()
    answer: dict[str, list] = {"branches": [], "tags": [], "converts": [], "pullRequests": []}
    for kind, place, names in (("branches", "heads", repository.branches), ("tags", "tags", repository.tags)):
        for name, sha in names.items():
            answer[kind].append({"name": name, "ref": f"refs/{place}/{name}", "targetCommit": sha})
    return json_response(answer)


def commits(request: Request) -> Response:
    described = [
        {
            "id": commit.sha,
            "title": commit.title,
            "message": commit.message,
            "authors": [{"user": commit.author}],
            "date": commit.date,
        }
        for commit in request.commit(request.readable()).history()
    ]
    return json_response(described)


def _free(names: dict[str, str], name: str) -> None:
    if name in names:
        raise HubError(409, f"Reference already exists: {name}")


def create_branch(request: Request) -> Response:
    repository = request.writable()
    branch = request.parts["branch"]
    if branch.startswith("refs/"):
        raise HubError(400, f"Invalid reference for a branch: {branch}")
    _free(repository.branches, branch)
    repository.branches[branch] = repository.at(request.json().get("startingPoint") or "main").sha
    return json_response({"success": True}, 201)


def delete_branch(request: Request) -> Response:
    repository = request.writable()
    branch = request.parts["branch"]
    if branch == "main":
        raise HubError(403, "Cannot delete refs/heads/main")
    if repository.branches.pop(branch, None) is None:
        raise HubError(404, f"Invalid rev id: {branch}", "RevisionNotFound")
    return json_response({"success": True})


def create_tag(request: Request) -> Response:
    """The address carries the revision, the body the name."""
    repository = request.writable()
    commit = request.commit(repository)
    tag = request.json()["tag"]
    _free(repository.tags, tag)
    repository.tags[tag] = commit.sha
    return json_response({"success": True}, 201)


def delete_tag(request: Request) -> Response:
    repository = request.writable()
    tag = request.parts["revision"]
    if repository.tags.pop(tag, None) is None:
        raise HubError(404, f"Invalid rev id: {tag}", "RevisionNotFound")
    return json_response({"success": True})
