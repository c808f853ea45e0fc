"""What waits in an outbox is tried until it has arrived, in a thread that never harms the one that trains."""

import threading
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

from hfrep.errors import CheckpointError, HubError, UndeliveredError
from hfrep.hub import courier as module
from hfrep.hub.courier import Courier
from hfrep.hub.faults import Fault
from hfrep.hub.outbox import Destination, Outbox
from hfrep.hub.plan import Plan
from hfrep.hub.settings import PushSettings
from hfrep.hub.told import tell_outcome
from hfrep.hub.uploads import Uploads


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)


@pytest.fixture
def outbox(tmp_path):
    box = Outbox(tmp_path)
    box.address(Destination("me/tiny"))
    return box


def fill(outbox, *branches):
    for branch in branches:
        with outbox.filling(branch) as folder:
            (folder / "config.json").write_text("{}")


def answer(status, **headers):
    """What huggingface_hub raises on a response."""
    response = SimpleNamespace(status_code=status, headers=headers, request=None)
    return HfHubHTTPError(f"{status} for url", response=response)


class Script:
    """Attempts that fail as told, then succeed."""

    def __init__(self, outbox, *errors):
        self.outbox, self.errors, self.tried = outbox, list(errors), []

    def __call__(self, branch):
        self.tried.append(branch)
        if self.errors:
            error = self.errors.pop(0)
            if error is not None:
                raise error
        self.outbox.take(branch)
        self.outbox.arrived(branch, f"commit of {branch}")


def test_all_arrives_in_the_order_of_steps(outbox):
    """Steps by their number, main last; each is gone from the disk once it has arrived."""
    fill(outbox, "main", "step-100", "step-20")
    deliver = Script(outbox)
    courier = Courier(outbox, deliver)
    courier.start()
    assert courier.finish(5) == {}
    assert deliver.tried == ["step-20", "step-100", "main"]
    assert outbox.waiting() == []
    assert list(outbox.destination.arrived) == deliver.tried


@pytest.mark.parametrize(
    "error", [answer(500), answer(503), answer(429), answer(412), answer(409), ConnectionError("broken")]
)
def test_what_fails_in_passing_is_tried_again(outbox, error):
    """Server errors, limits, conflicts and broken connections."""
    fill(outbox, "main")
    deliver = Script(outbox, error, error)
    courier = Courier(outbox, deliver)
    courier.start()
    assert courier.finish(5) == {}
    assert deliver.tried == ["main"] * 3


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (answer(401), "the token is refused (401)"),
        (answer(403), "the token is refused (403)"),
        (answer(400), "status 400: 400 for url"),
        (LocalTokenNotFoundError("none"), "no token"),
        (ValueError("a bad name"), "a bad name"),
        (HubError(where="me/tiny", expected="it private", found="public", do="hide it"), "public"),
    ],
)
def test_what_is_refused_is_not_tried_again(outbox, error, told):
    """Nothing is gained by it; what else waits is sent all the same."""
    fill(outbox, "step-1", "main")
    deliver = Script(outbox, error)
    courier = Courier(outbox, deliver)
    courier.start()
    assert courier.finish(5) == {"step-1": told}
    assert deliver.tried == ["step-1", "main"]
    assert outbox.waiting() == ["step-1"]


def test_patience_ends(outbox):
    """After it nothing is tried again; what was not reached is named too."""
    fill(outbox, "step-1", "main")
    courier = Courier(outbox, Script(outbox, *[answer(503)] * 1000))
    courier.start()
    began = time.monotonic()
    left = courier.finish(0.2)
    assert time.monotonic() - began < 2
    assert left == {"step-1": "status 503", "main": "not tried after the others failed"}
    assert outbox.waiting() == ["step-1", "main"]


def test_the_end_cuts_a_long_pause_short(outbox, monkeypatch):
    """A courier that rests for a minute tries once more when the run ends."""
    monkeypatch.setattr(module, "FIRST_PAUSE", 60.0)
    fill(outbox, "main")
    failed = threading.Event()
    script = Script(outbox, answer(503))

    def deliver(branch):
        try:
            script(branch)
        finally:
            failed.set()

    courier = Courier(outbox, deliver)
    courier.start()
    assert failed.wait(5)
    assert courier.finish(5) == {}
    assert script.tried == ["main", "main"]


def test_a_pause_is_as_long_as_the_hub_asks(outbox):
    """By its Retry-After; a date there counts as none."""
    fill(outbox, "main")
    courier = Courier(outbox, Script(outbox, answer(429, **{"Retry-After": "0.3"})))
    began = time.monotonic()
    courier.start()
    assert courier.finish(5) == {}
    assert time.monotonic() - began > 0.29
    assert Fault.of(answer(429, **{"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"})).wait is None


def test_what_comes_later_is_sent_while_the_run_goes_on(outbox):
    """Without waiting for the end."""
    arrived = threading.Event()

    def deliver(branch):
        outbox.take(branch)
        outbox.arrived(branch, "commit")
        arrived.set()

    courier = Courier(outbox, deliver)
    courier.start()
    fill(outbox, "step-5")
    courier.wake("step-5")
    assert arrived.wait(5)
    assert courier.finish(5) == {}


def test_a_kill_loses_nothing(outbox):
    """What waits is found by the next process; what was half written is not taken for whole."""
    fill(outbox, "step-1", "step-3")
    outbox.take("step-1")
    (outbox.folder / "filling" / "half").mkdir(parents=True)  # as a kill leaves it
    again = Outbox(outbox.run_folder)
    assert again.waiting() == ["step-1", "step-3"]
    assert again.destination == Destination("me/tiny")
    fill(again, "step-4")
    assert [path.name for path in again.take("step-4").iterdir()] == ["config.json"]


def test_what_is_replaced_while_it_is_sent_is_sent_again(outbox):
    """Neither is a file pulled from under the sender, nor is the new one taken for the old one's arrival."""
    fill(outbox, "main")
    sent = outbox.take("main")
    with outbox.filling("main") as folder:
        (folder / "config.json").write_text('{"new": true}')
    assert (sent / "config.json").read_text() == "{}"
    (sent.with_name(".main") / "half").mkdir(parents=True)  # as a kill in the removing leaves it
    outbox.arrived("main", "old")
    assert outbox.waiting() == ["main"]
    assert (outbox.take("main") / "config.json").read_text() == '{"new": true}'
    outbox.arrived("main", "new")
    assert outbox.waiting() == []


def test_a_refusal_counts_no_more_once_there_is_something_new(outbox):
    """Of a branch that is filled anew."""
    fill(outbox, "step-1")
    deliver = Script(outbox, answer(400))
    courier = Courier(outbox, deliver)
    courier.start()
    while "step-1" not in courier.faults:
        time.sleep(0.01)
    fill(outbox, "step-1")
    courier.wake("step-1")
    assert courier.finish(5) == {}
    assert deliver.tried == ["step-1", "step-1"]


def test_nothing_is_sent_before_the_run_holds_its_lock(outbox):
    """Another run may be going on in the folder: a command that is going to be refused sends nothing of it."""
    fill(outbox, "step-1")
    uploads = Uploads(PushSettings(push_to_hub=True), outbox.run_folder, None, Plan(outbox.destination, reachable=True))
    deliver = Script(outbox)
    uploads.courier = Courier(outbox, deliver)
    with uploads:
        time.sleep(0.2)
    assert deliver.tried == []
    assert (outbox.folder / "waiting" / "step-1").is_dir()


def test_filling_that_fails_leaves_nothing(outbox):
    """It would take the room that the run needs."""
    with suppress(OSError), outbox.filling("step-1") as folder:
        (folder / "model.safetensors").write_text("half of it")
        raise OSError("full")
    assert outbox.waiting() == []
    assert [path.name for path in outbox.folder.iterdir()] == ["repository.json"]


def test_another_address_is_refused_while_something_waits(outbox):
    """It was meant for the first one."""
    fill(outbox, "step-1")
    with pytest.raises(CheckpointError, match=r"what still waits for me/tiny .*\(step-1\), found --hub_model_id me/o"):
        outbox.require(Destination("me/other"))
    outbox.take("step-1")
    outbox.arrived("step-1", "commit")
    outbox.require(Destination("me/other"))
    outbox.address(Destination("me/other"))
    assert outbox.destination.arrived == {}


def test_a_namespace_that_comes_later_is_no_other_address(outbox):
    """Without a network at the start a name is all that is known of the repository."""
    fill(outbox, "step-1")
    outbox.address(Destination("tiny"))
    assert outbox.destination.repository == "me/tiny"
    short = Outbox(outbox.run_folder / "other")
    short.address(Destination("tiny"))
    fill(short, "step-1")
    short.address(Destination("me/tiny"))
    assert short.destination.repository == "me/tiny"


def test_a_damaged_address_is_told(outbox):
    (outbox.folder / "repository.json").write_text("{")
    with pytest.raises(CheckpointError, match="what hfrep wrote there"):
        _ = outbox.destination


def test_what_did_not_arrive_is_told_with_its_command(outbox, capsys):
    """Printed, or as an error with its own exit status."""
    fill(outbox, "main")
    outbox.arrived("step-1", "0123456789abcdef")
    tell_outcome(outbox, {"main": "status 503"}, strict=False)
    told = capsys.readouterr().out
    assert "me/tiny: 1 branch of steps" in told
    assert "main (status 503)" in told
    assert f"python recipes/push.py {outbox.run_folder}" in told
    with pytest.raises(UndeliveredError, match=r"not there: main \(status 503\); send it with: python") as caught:
        tell_outcome(outbox, {"main": "status 503"}, strict=True)
    assert caught.value.exit_status == 3
