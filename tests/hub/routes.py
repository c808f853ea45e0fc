"""Which address belongs to which endpoint."""

import re
from collections.abc import Callable
from urllib.parse import unquote

from . import downloads, repositories, uploads
from .store import HubError
from .web import Request, Response

API = r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+(?:/[^/]+)?)"
FILES = r"/(?P<kind>datasets/)?(?P<name>[^/]+(?:/[^/]+)?)"
REVISION = "(?P<revision>[^/]+)"
BRANCH = "(?P<branch>[^/]+)"

ROUTES: list[tuple[str, str, Callable[[Request], Response]]] = [
    ("GET", "/api/whoami-v2", repositories.whoami),
    ("POST", "/api/validate-yaml", repositories.validate_yaml),
    ("POST", "/api/repos/create", repositories.create),
    ("DELETE", "/api/repos/delete", repositories.delete),
    ("GET", "/api/(?P<kind>models|datasets)", repositories.listing),
    ("GET", f"{API}/revision/{REVISION}", repositories.info),
    ("GET", f"{API}/auth-check", repositories.may_read),
    ("GET", f"{API}/auth-check/write", repositories.may_write),
    ("GET", f"{API}/refs", repositories.refs),
    ("GET", f"{API}/commits/{REVISION}", repositories.commits),
    ("PUT", f"{API}/settings", repositories.settings),
    ("POST", f"{API}/branch/{BRANCH}", repositories.create_branch),
    ("DELETE", f"{API}/branch/{BRANCH}", repositories.delete_branch),
    ("POST", f"{API}/tag/{REVISION}", repositories.create_tag),
    ("DELETE", f"{API}/tag/{REVISION}", repositories.delete_tag),
    ("GET", f"{API}/tree/{REVISION}(?:/(?P<path>.*))?", downloads.tree),
    ("POST", f"{API}/paths-info/{REVISION}", downloads.paths_info),
    ("POST", f"{API}/preupload/{REVISION}", uploads.preupload),
    ("POST", f"{API}/commit/{REVISION}", uploads.commit),
    ("POST", rf"{FILES}\.git/info/lfs/objects/batch", uploads.lfs_batch),
    ("POST", rf"{FILES}\.git/info/lfs/verify", uploads.lfs_verify),
    ("PUT", "/_lfs/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})", uploads.lfs_upload),
    ("GET", f"{FILES}/resolve/{REVISION}/(?P<path>.+)", downloads.resolve),
    ("GET", API, repositories.info),  # the last: a repository's name may be one word or two
]


def answer(request: Request, path: str) -> Response:
    """What the endpoint at a path, still encoded, answers. HEAD is a GET whose body is kept back."""
    method = "GET" if request.method == "HEAD" else request.method
    for wanted, pattern, endpoint in ROUTES:
        match = re.fullmatch(pattern, path)
        if match and wanted == method:
            request.parts = {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
            return endpoint(request)
    raise HubError(404, f"Sorry, there is no {request.method} {path} here.")
