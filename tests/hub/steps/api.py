"""Repositories, files, revisions and rights, through ``HfApi``."""

import warnings
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, HfApi, HfFileSystem
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from hub.accounts import OTHER_TOKEN, READ_TOKEN
from hub.attributes import LFS_THRESHOLD
from hub.client import LocalHub

api = HfApi()
WEIGHTS = bytes(range(256)) * 100


def _status(wanted: int) -> pytest.RaisesExc:
    """The block fails with this HTTP status."""
    return pytest.RaisesExc(HfHubHTTPError, check=lambda error: error.response.status_code == wanted)


def _uploads(hub: LocalHub, repo: str) -> list[dict]:
    return [request for request in hub.requests() if request["path"].startswith(f"/_lfs/models/{repo}/")]


def accounts(hub: LocalHub, folder: Path) -> None:
    """A token tells its user, its role and its organisations."""
    me = api.whoami()
    assert (me["name"], me["auth"]["accessToken"]["role"], me["orgs"][0]["name"]) == ("me", "write", "org")
    assert api.whoami(token=READ_TOKEN)["auth"]["accessToken"]["role"] == "read"
    assert api.whoami(token=OTHER_TOKEN)["name"] == "other"
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        api.whoami(token="hf_unknown")


def creation(hub: LocalHub, folder: Path) -> None:
    """A repository begins with ``.gitattributes``. Making it again is an error unless that is allowed."""
    made = api.create_repo("me/creation")
    assert (made.repo_id, made.url) == ("me/creation", f"{hub.url}/me/creation")
    assert hub.files("me/creation") == [".gitattributes"]
    assert [commit["title"] for commit in hub.commits("me/creation")] == ["initial commit"]
    with _status(409):
        api.create_repo("me/creation")
    assert api.create_repo("me/creation", exist_ok=True).repo_id == "me/creation"
    assert api.create_repo("creation", repo_type="dataset").repo_id == "me/creation"
    assert api.create_repo("org/creation").repo_id == "org/creation"
    assert api.repo_exists("me/creation", repo_type="dataset")
    assert not api.repo_exists("me/nothing")


def folder_unchanged(hub: LocalHub, folder: Path) -> None:
    """A folder is one commit, and the same folder again is none."""
    (folder / "deep" / "down").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "deep" / "down" / "model.safetensors").write_bytes(WEIGHTS)
    api.create_repo("me/folder")
    first = api.upload_folder(repo_id="me/folder", folder_path=folder, commit_message="All", commit_description="Of it")
    assert hub.files("me/folder") == [".gitattributes", "config.json", "deep/down/model.safetensors"]
    newest = hub.commits("me/folder")[0]
    assert (newest["id"], newest["title"], newest["message"]) == (first.oid, "All", "Of it")
    assert api.upload_folder(repo_id="me/folder", folder_path=folder).oid == first.oid
    assert len(hub.commits("me/folder")) == 2
    deleted = api.upload_folder(
        repo_id="me/folder", folder_path=folder, path_in_repo="again", allow_patterns="*.json", delete_patterns="*"
    )
    assert deleted.oid == hub.commits("me/folder")[0]["id"]
    assert "again/config.json" in hub.files("me/folder")


def lfs(hub: LocalHub, folder: Path) -> None:
    """By name, by size or for not being text a file goes by LFS, once for each content, and comes back the same."""
    api.create_repo("me/lfs")
    text = b"words\n" * (LFS_THRESHOLD // 6 + 1)
    contents = {"model.safetensors": WEIGHTS, "tokenizer.json": text, "plot.png": b"\x89PNG\r\n\x1a\n\0", "a.txt": b"a"}
    api.create_commit("me/lfs", [CommitOperationAdd(*file) for file in contents.items()], commit_message="All")
    files = {file["rfilename"]: file for file in hub.info("me/lfs")["siblings"]}
    assert {path for path, file in files.items() if "lfs" in file} == {
        "model.safetensors",
        "tokenizer.json",
        "plot.png",
    }
    for path, content in contents.items():
        assert Path(api.hf_hub_download("me/lfs", path)).read_bytes() == content == hub.read("me/lfs", path)
    attributes = hub.read("me/lfs", ".gitattributes").decode().splitlines()
    assert [line.split()[0] for line in attributes[-2:]] == ["plot.png", "tokenizer.json"]

    uploads = _uploads(hub, "me/lfs")
    assert len(uploads) == 3
    assert {upload["account"] for upload in uploads} == {None}  # a token has no business at the storage
    api.upload_file(repo_id="me/lfs", path_or_fileobj=WEIGHTS, path_in_repo="copy.bin")
    copies = [CommitOperationCopy("copy.bin", "second.bin"), CommitOperationCopy("a.txt", "b.txt")]
    api.create_commit("me/lfs", copies, commit_message="Copies")
    assert hub.read("me/lfs", "second.bin") == WEIGHTS
    assert hub.read("me/lfs", "b.txt") == b"a"
    assert len(_uploads(hub, "me/lfs")) == 3


def revisions(hub: LocalHub, folder: Path) -> None:
    """Branches and tags hold their commits, and snapshots are of one."""
    hub.create("me/revisions")
    first = hub.commit("me/revisions", {"a.txt": b"first"})
    api.create_tag("me/revisions", tag="v1", revision="main")
    api.create_branch("me/revisions", branch="try/this")
    second = hub.commit("me/revisions", {"a.txt": b"second"}, revision="try/this")
    assert hub.refs("me/revisions") == {"branches": {"main": first, "try/this": second}, "tags": {"v1": first}}
    assert {branch.name for branch in api.list_repo_refs("me/revisions").branches} == {"main", "try/this"}
    wanted = {"v1": b"first", "try/this": b"second", first: b"first", second[:7]: b"second"}
    for revision, content in wanted.items():
        snapshot = Path(api.snapshot_download("me/revisions", revision=revision))
        assert (snapshot / "a.txt").read_bytes() == content
    assert api.list_repo_commits("me/revisions", revision="try/this")[0].commit_id == second
    for _ in range(2):
        api.create_branch("me/revisions", branch="from-first", revision=first, exist_ok=True)
    with _status(409):
        api.create_tag("me/revisions", tag="v1")
    api.delete_tag("me/revisions", tag="v1")
    api.delete_branch("me/revisions", branch="try/this")
    with pytest.raises(RevisionNotFoundError):
        api.delete_tag("me/revisions", tag="v1")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("me/revisions", revision="try/this")
    with pytest.raises(RevisionNotFoundError):
        api.upload_file(repo_id="me/revisions", path_or_fileobj=b"", path_in_repo="b", revision="try/this")


def downloads(hub: LocalHub, folder: Path) -> None:
    """Files by folder and by range. What is missing is told apart."""
    hub.create("me/downloads")
    sha = hub.commit("me/downloads", {"deep/a b.txt": b"0123456789"})
    path = api.hf_hub_download("me/downloads", "a b.txt", subfolder="deep")
    assert Path(path).read_bytes() == b"0123456789"
    assert sha in path
    with HfFileSystem(token=api.token).open("me/downloads/deep/a b.txt", "rb", block_size=4) as file:
        file.seek(3)
        assert file.read(4) == b"3456"
    assert 206 in [request["status"] for request in hub.requests() if "/me/downloads/resolve/" in request["path"]]
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download("me/downloads", "missing.txt")
    with pytest.raises(RevisionNotFoundError):
        api.hf_hub_download("me/downloads", "deep/a b.txt", revision="missing")
    for missing in ("me/missing", "missing"):
        with pytest.raises(RepositoryNotFoundError):
            api.hf_hub_download(missing, "config.json")


def lists(hub: LocalHub, folder: Path) -> None:
    """Trees, paths and repositories are listed."""
    hub.create("org/lists")
    first = hub.commit("org/lists", {"a.txt": b"a", "deep/b.txt": b"b"}, title="First")
    hub.commit("org/lists", {"a.txt": b"A"}, title="Second")
    assert [entry.path for entry in api.list_repo_tree("org/lists")] == [".gitattributes", "a.txt", "deep"]
    below = list(api.list_repo_tree("org/lists", "deep", expand=True))
    assert [(entry.path, entry.last_commit.oid) for entry in below] == [("deep/b.txt", first)]
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree("org/lists", "missing"))
    paths = api.get_paths_info("org/lists", ["deep", "a.txt", "missing"], expand=True)
    assert [(entry.path, entry.last_commit.title) for entry in paths] == [("deep", "Second"), ("a.txt", "Second")]
    assert api.list_repo_files("org/lists", revision=first) == [".gitattributes", "a.txt", "deep/b.txt"]
    assert [model.id for model in api.list_models(author="org", search="list")] == ["org/lists"]
    assert list(api.list_datasets(author="org", search="list")) == []


def private(hub: LocalHub, folder: Path) -> None:
    """A private repository is not there for others, until it is made public."""
    api.create_repo("me/private", private=True)
    api.upload_file(repo_id="me/private", path_or_fileobj=b"secret", path_in_repo="a.txt")
    assert api.model_info("me/private").private
    for token in (OTHER_TOKEN, False):
        with pytest.raises(RepositoryNotFoundError):
            api.hf_hub_download("me/private", "a.txt", token=token)
        with pytest.raises(RepositoryNotFoundError):
            api.model_info("me/private", token=token)
        assert "me/private" not in [model.id for model in api.list_models(token=token)]
    assert api.hf_hub_download("me/private", "a.txt", token=READ_TOKEN)
    api.update_repo_settings("me/private", private=False)
    assert not api.model_info("me/private", token=OTHER_TOKEN).private


def gated(hub: LocalHub, folder: Path) -> None:
    """Of a gated repository others see that it is there, and no file."""
    hub.create("me/gated")
    api.update_repo_settings("me/gated", gated="manual")
    assert api.model_info("me/gated", token=OTHER_TOKEN).gated == "manual"
    for token in (OTHER_TOKEN, False):
        with pytest.raises(GatedRepoError):
            api.hf_hub_download("me/gated", ".gitattributes", token=token)


def rights(hub: LocalHub, folder: Path) -> None:
    """Without a token, with one that only reads, or in a namespace of others, nobody writes."""
    hub.create("me/rights")
    file = {"repo_id": "me/rights", "path_or_fileobj": b"", "path_in_repo": "a"}
    with pytest.raises(HfHubHTTPError, match="must use a write token"):
        api.upload_file(**file, token=READ_TOKEN)
    with _status(403):
        api.upload_file(**file, token=OTHER_TOKEN)
    with _status(401):
        api.upload_file(**file, token=False)
    for token, status in ((READ_TOKEN, 403), (OTHER_TOKEN, 403), (False, 401)):
        with _status(status):
            api.create_repo("me/new", token=token)
        with _status(status):
            api.create_branch("me/rights", branch="new", token=token)
        with _status(status):
            api.delete_repo("me/rights", token=token)
        with _status(status):
            api.auth_check("me/rights", write=True, token=token)
    api.auth_check("me/rights", write=True)
    assert api.create_repo("me/rights", exist_ok=True, token=READ_TOKEN) == f"{hub.url}/me/rights"
    with pytest.raises(HfHubHTTPError, match='under the namespace "other"'):
        api.create_repo("other/new")
    with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
        api.hf_hub_download("me/rights", ".gitattributes", token="hf_unknown")
    assert len(hub.commits("me/rights")) == 1


def deletion(hub: LocalHub, folder: Path) -> None:
    """Files, folders and repositories go; what is not there cannot."""
    hub.create("me/deletion")
    hub.commit("me/deletion", {"a.txt": b"a", "deep/b.txt": b"b", "deep/c.txt": b"c"})
    api.delete_file("a.txt", "me/deletion")
    api.delete_folder("deep", "me/deletion")
    assert hub.files("me/deletion") == [".gitattributes"]
    with pytest.raises(EntryNotFoundError):
        api.delete_file("a.txt", "me/deletion")
    api.delete_repo("me/deletion")
    assert not hub.exists("me/deletion")
    api.delete_repo("me/deletion", missing_ok=True)
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo("me/deletion")


def parents(hub: LocalHub, folder: Path) -> None:
    """A commit that names its parent is refused when another came between."""
    hub.create("me/parents")
    parent = hub.commit("me/parents", {"a": b"1"})
    hub.commit("me/parents", {"a": b"2"})
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as error:
        api.upload_file(repo_id="me/parents", path_or_fileobj=b"3", path_in_repo="a", parent_commit=parent)
    assert error.value.response.status_code == 412
    assert hub.read("me/parents", "a") == b"2"


def cards(hub: LocalHub, folder: Path) -> None:
    """A card without metadata is remarked on. What ``.gitignore`` names stays out."""
    hub.create("me/cards")
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        api.upload_file(repo_id="me/cards", path_or_fileobj=b"# Card", path_in_repo="README.md")
    with warnings.catch_warnings(action="error"):
        api.upload_file(repo_id="me/cards", path_or_fileobj=b"---\nlicense: mit\n---\n", path_in_repo="README.md")
    files = {".gitignore": b"*.log\nruns/\n", "a.log": b"", "runs/b.txt": b"", "c.txt": b""}
    api.create_commit("me/cards", [CommitOperationAdd(*file) for file in files.items()], commit_message="Some")
    assert hub.files("me/cards") == [".gitattributes", ".gitignore", "README.md", "c.txt"]
