"""How the user is told what arrived at the Hub, what did not, and what to do about it."""

from collections.abc import Mapping

from huggingface_hub import constants

from hfrep.errors import UndeliveredError
from hfrep.hub.outbox import MAIN, Destination, Outbox, push_command


def tell_plan(outbox: Outbox, destination: Destination, *, reachable: bool) -> None:
    """Where the run is going to be pushed."""
    private = ", private" if destination.private else ""
    later = "" if reachable else f"; out of reach now, so what is sent waits in {outbox.folder}"
    print(f"hub        {destination.repository}{private}{later}", flush=True)


def tell_sending(outbox: Outbox) -> None:
    """That the run is done and only the Hub is waited for."""
    print(
        f"sending    {', '.join(outbox.waiting())}; Ctrl-C leaves it to {push_command(outbox.run_folder)}", flush=True
    )


def tell_waiting(outbox: Outbox) -> None:
    """Of a run that was stopped: what has not arrived yet."""
    if waiting := outbox.waiting():
        branches = ", ".join(waiting)
        print(
            f"hub        {branches} not sent yet; the same command sends them, or {push_command(outbox.run_folder)}",
            flush=True,
        )


def tell_outcome(outbox: Outbox, undelivered: Mapping[str, str], *, strict: bool) -> None:
    """Print where everything is, and of each branch that did not arrive why, with the command that sends it.

    Raises:
        UndeliveredError: where `strict`, and one did not.
    """
    destination = outbox.destination
    assert destination is not None, "something was sent"
    prefix = "" if destination.kind == "model" else f"{destination.kind}s/"
    address = f"{constants.ENDPOINT}/{prefix}{destination.repository}"
    steps = len(destination.arrived.keys() - undelivered.keys() - {MAIN})
    branches = f"{steps} branch{'es' if steps > 1 else ''} of steps" if steps else ""
    if MAIN in destination.arrived and MAIN not in undelivered:
        commit = destination.arrived[MAIN][:12]
        print(f"pushed     {address} at {commit}{f' and {branches}' if branches else ''}", flush=True)
    elif branches:
        print(f"pushed     {address}: {branches}", flush=True)
    if not undelivered:
        return
    reasons = "; ".join(f"{branch} ({why})" for branch, why in undelivered.items())
    rest = push_command(outbox.run_folder)
    if strict:
        raise UndeliveredError(
            where=address,
            expected="all of the run to arrive",
            found=f"not there: {reasons}",
            do=f"send it with: {rest}",
        )
    print(f"not pushed {address}: {reasons}; it waits in {outbox.folder}, and this sends it: {rest}", flush=True)
