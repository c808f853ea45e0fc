"""What clients make of each fault."""

import threading
from pathlib import Path

import httpx2
import huggingface_hub
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from hub.client import LocalHub
from hub.faults import CONFLICT, EXPIRED, RATE_LIMITED

api = HfApi()
WEIGHTS = bytes(range(256)) * 2000


def _upload(repo: str, content: bytes = WEIGHTS, path: str = "model.safetensors") -> str:
    return api.upload_file(repo_id=repo, path_or_fileobj=content, path_in_repo=path).oid


def _statuses(hub: LocalHub, method: str, part: str) -> list[int | None]:
    return [one["status"] for one in hub.requests() if one["method"] == method and part in one["path"]]


def server_error(hub: LocalHub, folder: Path) -> None:
    """A commit that fails is not tried again, and nothing was committed."""
    hub.create("me/error")
    with hub.fail("POST", "/me/error/commit/", status=500), pytest.raises(HfHubHTTPError, match="injected") as error:
        _upload("me/error")
    assert error.value.response.status_code == 500
    assert len(hub.commits("me/error")) == 1
    assert _upload("me/error") == hub.commits("me/error")[0]["id"]


def retried(hub: LocalHub, folder: Path) -> None:
    """What is asked before a commit is asked again, after the pause that the Hub wants."""
    hub.create("me/retried")
    hub.fail("POST", "/me/retried/preupload/", status=503)
    hub.fail("POST", "/me/retried.git/info/lfs/objects/batch", **RATE_LIMITED)
    _upload("me/retried")
    assert _statuses(hub, "POST", "/me/retried/preupload/") == [503, 200]
    assert _statuses(hub, "POST", "/me/retried.git/info/lfs/objects/batch") == [429, 200]


def upload_broken(hub: LocalHub, folder: Path) -> None:
    """A connection that breaks in the middle of an upload; the second try is slow and succeeds."""
    hub.create("me/broken")
    hub.fail("PUT", "/_lfs/models/me/broken/", drop_after=1000)
    hub.fail("PUT", "/_lfs/models/me/broken/", slow=0.02)
    _upload("me/broken")
    assert _statuses(hub, "PUT", "/_lfs/models/me/broken/") == [None, 200]
    assert hub.read("me/broken", "model.safetensors") == WEIGHTS


def upload_fails(hub: LocalHub, folder: Path) -> None:
    """The second of two uploads never succeeds: no commit."""
    hub.create("me/fails")
    hub.fail("PUT", "/_lfs/models/me/fails/", skip=1, times=None, status=403, message="signature expired")
    files = [CommitOperationAdd("a.bin", WEIGHTS), CommitOperationAdd("b.bin", WEIGHTS[1:])]
    with pytest.raises(RuntimeError, match="Error while uploading"):
        api.create_commit("me/fails", files, commit_message="Both")
    assert sorted(_statuses(hub, "PUT", "/_lfs/models/me/fails/")) == [200, 403]
    assert len(hub.commits("me/fails")) == 1


def download_broken(hub: LocalHub, folder: Path) -> None:
    """A download that breaks off goes on at the last whole piece."""
    hub.create("me/resumed")
    hub.commit("me/resumed", {"a.bin": WEIGHTS})
    hub.fail("GET", "/me/resumed/resolve/", drop_after=100_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1000)
        assert Path(api.hf_hub_download("me/resumed", "a.bin")).read_bytes() == WEIGHTS
    assert _statuses(hub, "GET", "/me/resumed/resolve/") == [200, 206]


def answer_lost(hub: LocalHub, folder: Path) -> None:
    """The commit is made though its client hears of an error, or nothing at all."""
    hub.create("me/lost")
    with hub.fail("POST", "/me/lost/commit/", status=504, after=True), pytest.raises(HfHubHTTPError, match="504"):
        _upload("me/lost", b"1", "a")
    assert hub.read("me/lost", "a") == b"1"
    with hub.fail("POST", "/me/lost/commit/", drop_after=0, after=True), pytest.raises(httpx2.RemoteProtocolError):
        _upload("me/lost", b"2", "a")
    assert hub.read("me/lost", "a") == b"2"


def expired(hub: LocalHub, folder: Path) -> None:
    """An expired token is told from a repository that is not there."""
    hub.create("me/expired")
    with hub.fail("POST|GET", "", times=None, **EXPIRED):
        with pytest.raises(HfHubHTTPError, match="Invalid credentials in Authorization header") as error:
            _upload("me/expired")
        assert not isinstance(error.value, RepositoryNotFoundError)
        with pytest.raises(HfHubHTTPError, match="Invalid user token"):
            api.whoami()


def conflict(hub: LocalHub, folder: Path) -> None:
    """A conflict can be had without another commit."""
    hub.create("me/conflict")
    with hub.fail("POST", "/me/conflict/commit/", **CONFLICT), pytest.raises(HfHubHTTPError) as error:
        _upload("me/conflict")
    assert error.value.response.status_code == 412


def bad_card(hub: LocalHub, folder: Path) -> None:
    """A card's metadata is refused in the words of a fault."""
    hub.create("me/card")
    body = {"errors": [{"message": '"license" must be one of [...]'}], "warnings": []}
    with (
        hub.fail("POST", "/api/validate-yaml", status=400, message="Invalid", body=body),
        pytest.raises(ValueError, match='"license" must be one of'),
    ):
        _upload("me/card", b"---\nlicense: mine\n---\n", "README.md")


def hanging(hub: LocalHub, folder: Path) -> None:
    """A Hub that does not answer: the client gives up and asks again where it has a limit, else it waits on."""
    hub.create("me/hanging")
    hub.fail("HEAD", "/me/hanging/resolve/", hang=True)
    assert api.hf_hub_download("me/hanging", ".gitattributes", etag_timeout=0.2)
    assert _statuses(hub, "HEAD", "/me/hanging/resolve/") == [None, 200]
    hub.fail("POST", "/me/hanging/commit/", hang=True)
    threading.Timer(0.2, hub.clear_faults).start()
    with pytest.raises(httpx2.RemoteProtocolError):
        _upload("me/hanging", b"", "a")
    assert _statuses(hub, "POST", "/me/hanging/commit/") == [None]
