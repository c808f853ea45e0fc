"""A Hugging Face Hub of our own on loopback, for tests of what is published and fetched.

The server (``server.py``, standard library only) runs in a process of its own and is met as the real one is met:
through ``HF_ENDPOINT``. Models and datasets, branches, tags, private and gated repositories, LFS by preupload, batch,
PUT and verify, and the error headers from which ``huggingface_hub`` makes its exceptions.

``HF_ENDPOINT`` and its like are read when ``huggingface_hub`` is imported, and the tests themselves run offline. So
clients are processes of their own::

    def test_publish(hub: LocalHub, tmp_path: Path) -> None:  # the fixture is known to all tests
        environment = hub.environment(tmp_path / "home")  # of the user "me", with an empty cache
        subprocess.run([sys.executable, "recipes/publish.py", ...], env=environment, check=True)
        assert "model.safetensors" in hub.files("me/mine")

One server lives through the session; tests stay apart by the names of their repositories. What a ``LocalHub`` offers:

``hub.url``
    The endpoint.
``hub.environment(home, token=TOKEN)``
    All of ``os.environ`` for a client process, turned towards this Hub; ``home`` becomes its ``HF_HOME``. A token of
    ``None`` leaves it anonymous.
``hub.python(code, home, token=TOKEN, **options)``
    Run Python code in such a process: a ``CompletedProcess`` with text output. It raises if the code fails, unless
    ``check=False``.
``hub.create(repo, repo_type="model", private=False)``, ``hub.commit(repo, {"a.txt": b"..", "b.txt": None}, ...)``
    Set the scene without a client; ``None`` deletes.
``hub.files(repo, revision="main")``, ``hub.read(repo, path, revision="main")``
    Names of all files, bytes of one. Both, and the next three, take ``repo_type="dataset"``.
``hub.commits(repo, revision="main")``, ``hub.refs(repo)``, ``hub.info(repo, revision="main")``
    Commits, newest first, as dicts with ``id``, ``title``, ``message``, ``date``; ``{"branches": {name: sha},
    "tags": {name: sha}}``; the description of a repository with ``sha``, ``private``, ``siblings`` and sizes.
``hub.exists(repo)``
    Whether there is such a repository.
``hub.requests()``, ``hub.forget_requests()``
    What was asked so far: ``method``, ``path`` (decoded, with the query), ``status`` (``None``: no answer was given),
    ``account`` (``None``: anonymous), ``received`` (bytes of the body).
``hub.fail(method, path, *, times=1, skip=0, ...)``, ``hub.clear_faults()``
    Make matching requests go wrong: ``method`` is a regular expression for the whole method (``"GET|HEAD"``), ``path``
    one searched in the decoded path. ``times=None`` means for ever, ``skip`` lets as many pass before.
    ``with hub.fail(...):`` takes all faults back at the end. What ``hub`` itself asks neither fails nor is logged.
    What goes wrong is one of

    - ``status=503`` with ``message=``, ``code=`` (the header X-Error-Code), ``retry_after=`` and ``body=`` (a dict)
    - ``**EXPIRED``, ``**CONFLICT`` and ``**RATE_LIMITED`` of ``hub.faults``: such statuses as the Hub words them
    - ``drop_after=1000``: close the connection after so many bytes of the answer's body; or of the request's if it has
      one, which is read in pieces of 64 KiB
    - ``slow=0.1``: sleep so long before each 64 KiB received and sent; the request then succeeds
    - ``hang=True``: answer nothing until the faults are cleared, then close

    ``after=True`` does first what was asked, then fails: the answer got lost.
``hub.reset()``
    Forget everything: repositories, faults, requests. Meant for a server of your own (``with running() as hub`` of
    ``hub.fixture``), since other tests still need what is in the shared one.

The accounts are in ``hub.accounts``: ``TOKEN`` (user "me", writes, also in the organisation "org"), ``READ_TOKEN``
(user "me", only reads), ``OTHER_TOKEN`` (user "other", writes). They, ``LocalHub`` and the ready faults may be imported
from ``hub`` itself.

Not here: pull requests, discussions, Xet, multi-part LFS, pages of long lists, squashing and moving, what the real Hub
reads from cards (``cardData``, tags), the dataset viewer, Spaces.
"""

from .accounts import OTHER_TOKEN, READ_TOKEN, TOKEN
from .client import LocalHub
from .faults import CONFLICT, EXPIRED, RATE_LIMITED

__all__ = ["CONFLICT", "EXPIRED", "OTHER_TOKEN", "RATE_LIMITED", "READ_TOKEN", "TOKEN", "LocalHub"]
