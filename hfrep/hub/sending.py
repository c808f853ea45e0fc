"""The end of a run that is pushed: all is put into the outbox, seen off, and told."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType

from hfrep.hub.contents import finished, kind_of, stage_run
from hfrep.hub.courier import Courier
from hfrep.hub.delivery import deliver
from hfrep.hub.outbox import MAIN, Destination, Outbox
from hfrep.hub.plan import Plan
from hfrep.hub.settings import RepositorySettings
from hfrep.hub.told import tell_outcome, tell_sending, tell_waiting
from hfrep.training.checkpoint import locked


def push(folder: Path, settings: RepositorySettings, plan: Plan, *, strict: bool) -> None:
    """Send what has been made in `folder`, if it is finished, and what waits of it.

    Raises:
        CheckpointError: a run is going on there in another process.
        UndeliveredError: something did not arrive, and that is to count as failed.
    """
    outbox = Outbox(folder)
    send(outbox, Courier(outbox, partial(deliver, outbox)), plan.destination, settings, strict=strict)


def send(
    outbox: Outbox, courier: Courier, destination: Destination, settings: RepositorySettings, *, strict: bool
) -> None:
    """Put what the folder holds into the outbox, if it is finished, and wait until all has arrived or is given up.

    Raises:
        CheckpointError: a run is going on there in another process.
        ConfigError: the base model of an adapter is on no Hub.
        UndeliveredError: where `strict`, something did not arrive.
    """
    destination = replace(destination, kind=kind_of(outbox.run_folder))
    with locked(outbox.run_folder):
        outbox.require(destination)
        if finished(outbox.run_folder):
            stage_run(outbox, destination)
        outbox.address(destination)
        courier.wake(MAIN)
        tell_sending(outbox)
        try:
            with ended_by_sigterm():
                undelivered = courier.finish(settings.hub_patience)
        except (KeyboardInterrupt, TerminatedError) as stop:
            tell_waiting(outbox)
            sys.stdout.flush()
            # Not an ordinary exit, which would wait for the threads that send.
            os._exit(128 + (signal.SIGINT if isinstance(stop, KeyboardInterrupt) else signal.SIGTERM))
    tell_outcome(outbox, undelivered, strict=strict)


class TerminatedError(Exception):
    """SIGTERM came."""


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Within it, SIGTERM raises `TerminatedError`."""

    def end(number: int, frame: FrameType | None) -> None:
        raise TerminatedError

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
