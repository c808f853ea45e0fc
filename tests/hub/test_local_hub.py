"""The local Hub is met by stock clients as the real one is, and fails them as it is told to."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from hub.attributes import ignored, is_text
from hub.client import LocalHub
from hub.faults import Fault
from hub.fixture import running
from hub.steps import MODULES, steps

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def client(hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], CompletedProcess[str]]:
    """The process that took the steps of a module."""

    @cache
    def take(module: str) -> CompletedProcess[str]:
        folder = tmp_path_factory.mktemp(module)
        environment = hub.environment(folder / "home") | {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        command = [sys.executable, "-m", "hub.steps", module, str(folder)]
        return subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True, timeout=300)

    return take


@pytest.mark.parametrize(("module", "step"), [(module, step) for module in MODULES for step in steps(module)])
def test_step(module: str, step: str, client: Callable[[str], CompletedProcess[str]]) -> None:
    """Each step is described where it is written."""
    done = client(module)
    assert done.returncode == 0, done.stderr
    failure = json.loads(done.stdout.splitlines()[-1])[step]
    assert failure is None, failure


@pytest.fixture
def own_hub() -> Iterator[LocalHub]:
    """One that may be reset: other tests still need what is in the shared one."""
    with running() as started:
        yield started


def test_reset_forgets_all_and_nothing_of_the_tests_is_logged(own_hub: LocalHub, tmp_path: Path) -> None:
    """The tests' own view neither fails nor appears in the log."""
    hub = own_hub
    hub.create("me/forgotten")
    hub.forget_requests()
    hub.fail("GET", "", times=None, status=500)
    assert hub.exists("me/forgotten")
    assert hub.requests() == []
    hub.reset()
    assert not hub.exists("me/forgotten")
    probe = (
        "import os, urllib.request as r; print(r.urlopen(os.environ['HF_ENDPOINT'] + '/api/models').read().decode())"
    )
    assert json.loads(hub.python(probe, tmp_path, token=None).stdout) == []
    assert [(one["path"], one["status"], one["account"]) for one in hub.requests()] == [("/api/models", 200, None)]


def test_fault_is_one_thing() -> None:
    """A fault that is nothing or two things is a mistake."""
    for settings in ({}, {"status": 500, "hang": True}):
        with pytest.raises(ValueError, match="one of status"):
            Fault("GET", "", **settings)


def test_faults_count() -> None:
    """Requests are let pass first, then fail so many times."""
    fault = Fault("GET|HEAD", "/a$", status=500, skip=1, times=2)
    asked = [("GET", "/a"), ("POST", "/a"), ("GET", "/b"), ("HEAD", "/a"), ("GET", "/a"), ("GET", "/a")]
    assert [fault.takes(*one) for one in asked] == [False, False, False, True, True, False]


@pytest.mark.parametrize(
    ("sample", "text"), [(b"", True), ("é".encode(), True), ("é".encode()[:1], True), (b"\xff", False), (b"\0", False)]
)
def test_text_is_told_from_its_beginning(sample: bytes, text: bool) -> None:
    """The sample may end inside a character."""
    assert is_text(sample) == text


@pytest.mark.parametrize(
    ("path", "out"), [("a.log", True), ("x/a.log", True), ("runs/a", True), ("x/runs/a", True), ("a.logs", False)]
)
def test_ignored(path: str, out: bool) -> None:
    """Names and folders, at any depth."""
    assert ignored(path, "# comment\n*.log\nruns/\n") == out
