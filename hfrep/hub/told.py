"""How the user is told what arrived at the Hub, what did not, and what to do about it."""

from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import constants

from hfrep.errors import UndeliveredError
from hfrep.hub.outbox import FOLDER, MAIN, Destination, Outbox


def command(outbox: Outbox) -> str:
    """What sends the rest."""
    return f"python recipes/push.py {outbox.run_folder}"


def tell_plan(folder: Path, destination: Destination) -> None:
    """Where the run in `folder` is going to be pushed."""
    known = "/" in destination.repository
    told = destination.repository + (", private" if destination.private else "")
    print(
        f"hub        {told}{'' if known else f'; out of reach now, so what is sent waits in {folder / FOLDER}'}",
        flush=True,
    )


def tell_waiting(outbox: Outbox) -> None:
    """Of a run that was stopped: what has not arrived yet."""
    if waiting := outbox.waiting():
        print(f"hub        {', '.join(waiting)} not sent yet; the same command sends them, or {command(outbox)}")


def tell_outcome(outbox: Outbox, undelivered: Mapping[str, str], *, strict: bool) -> None:
    """Print where everything is, and of each branch that did not arrive why, with the command that sends it.

    Raises:
        UndeliveredError: where `strict`, and one did not.
    """
    destination = outbox.destination
    assert destination is not None, "something was sent"
    prefix = "" if destination.kind == "model" else f"{destination.kind}s/"
    address = f"{constants.ENDPOINT}/{prefix}{destination.repository}"
    if MAIN in destination.arrived and MAIN not in undelivered:
        branches = len(destination.arrived) - 1
        more = f" and {branches} branch{'es' if branches > 1 else ''} of steps" if branches else ""
        print(f"pushed     {address} at {destination.arrived[MAIN][:12]}{more}", flush=True)
    if not undelivered:
        return
    reasons = "; ".join(f"{branch} ({why})" for branch, why in undelivered.items())
    if strict:
        raise UndeliveredError(
            where=address,
            expected="all of the run to arrive",
            found=f"not there: {reasons}",
            do=f"send it with: {command(outbox)}",
        )
    print(
        f"not pushed {address}: {reasons}; it waits in {outbox.folder}, and this sends it: {command(outbox)}",
        flush=True,
    )
