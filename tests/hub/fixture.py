"""The fixture ``hub``, which ``conftest.py`` makes known to all tests."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .client import LocalHub


@contextmanager
def running() -> Iterator[LocalHub]:
    """A Hub in a process of its own."""
    server = subprocess.Popen(
        [sys.executable, "-m", "hub.server"],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:  # closes its standard input at the end, and it ends
        port = server.stdout.readline().strip()
        assert port, "the local Hub did not start"
        yield LocalHub(f"http://127.0.0.1:{port}")


@pytest.fixture(scope="session")
def hub() -> Iterator[LocalHub]:
    """A Hub for the whole session."""
    with running() as started:
        yield started
