"""Whether the Hub can be asked."""

import time

import pytest
from huggingface_hub import constants

from hfrep import network


class Session:
    """Stands for the Hub's client: answers with a status, or does what `status` does when called."""

    def __init__(self, status):
        self.status = status

    def head(self, url, timeout):
        return type("Response", (), {"status_code": self.status() if callable(self.status) else self.status})


def refuse():
    raise OSError("no route to host")


@pytest.fixture(autouse=True)
def _asked_anew(monkeypatch):
    network.hub_reachable.cache_clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield
    network.hub_reachable.cache_clear()


@pytest.mark.parametrize(("status", "reachable"), [(200, True), (404, True), (503, False), (refuse, False)])
def test_an_answer_is_what_counts(monkeypatch, status, reachable):
    """Any answer of the endpoint but a server's failure means a network; an exception means none."""
    monkeypatch.setattr("huggingface_hub.get_session", lambda: Session(status))
    assert network.hub_reachable() is reachable


def test_silence_is_noticed_in_under_two_seconds(monkeypatch):
    """A name look-up that hangs, which knows no time-out, does not hang us."""
    monkeypatch.setattr("huggingface_hub.get_session", lambda: Session(lambda: time.sleep(3) or 200))
    began = time.monotonic()
    assert not network.hub_reachable()
    assert time.monotonic() - began < 2


def test_offline_is_not_asked_about(monkeypatch):
    """With HF_HUB_OFFLINE=1 nothing goes out."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.get_session", lambda: pytest.fail("asked"))
    assert not network.hub_reachable()
