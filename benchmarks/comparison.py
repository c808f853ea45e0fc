"""What a row of the benchmark is made of: a comparison of sides that do the same work, each in a process of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

# Names of sides: what stands against the others, the same with the optimizer that the others have, the machine's limit.
OURS, OURS_ADAMW, LIMIT = "hfrep", "hfrep, AdamW", "limit"


class Turn(NamedTuple):
    """Work that was done: `units` (of the comparison) in `seconds`."""

    units: float
    seconds: float


class Side(Protocol):
    """One side, in its own process.

    Attributes:
        answers: what each side has to come to alike, by name; complete after the last turn. No ratio is told where they
            differ by more than the comparison allows.
    """

    answers: Mapping[str, float]

    def turn(self, amount: int) -> Turn:
        """Do `amount` of work: steps, rounds or examples, as the comparison has it."""
        ...


# How far answers of two sides that score texts may be apart.
LIKELIHOOD_TOLERANCES = {"mean": 1e-4, "mean square": 0.1, "accuracy": 0.0}


def likelihood_answers(nats: NDArray[np.float64], accuracy: float) -> dict[str, float]:
    """What is compared of log-likelihoods, of any shape, and of what is made of them."""
    return {"mean": float(nats.mean()), "mean square": float((nats**2).mean()), "accuracy": accuracy}


@dataclass(frozen=True)
class Amount:
    """How much is done.

    Attributes:
        turn: work of one turn.
        rounds: turns of each side that are measured.
        warm_up: work of the turn before them, which is not; 0 for none.
    """

    turn: int
    rounds: int
    warm_up: int = 0


@dataclass(frozen=True)
class Goal:
    """What is wanted of the side `mine`: so many times the speed of the side `against`, at most such a share of its
    peak memory."""

    against: str
    speed: float
    memory: float | None = None
    mine: str = OURS


def by_either_optimizer(*goals: Goal) -> list[Goal]:
    """Each of `goals` for our default, and for the optimizer that the other side has."""
    return [replace(goal, mine=mine) for goal in goals for mine in (OURS, OURS_ADAMW)]


@dataclass(frozen=True)
class Comparison:
    """A comparison.

    Attributes:
        name: of the comparison, short.
        what: the work, for the table.
        unit: that speeds are told in, a second.
        sides: what makes each side; `OURS` is among them, and where the limit is measured `LIMIT`, whose units are
            floating-point operations.
        goals: what is wanted, in the order of the table.
        full, quick: how much is done.
        tolerances: by the name of an answer, how far sides may be apart (absolute).
        operations: useful floating-point operations of a unit; None where no limit is measured.
        share: wanted share of the limit.
        own_memory: whether the work is done by the sides themselves, and not by processes that they start.
        gpu: peak memory is that of tensors on a GPU, and not what is resident.
        launched: each side is started by `accelerate launch`, with no setting of threads.
    """

    name: str
    what: str
    unit: str
    sides: Mapping[str, Callable[[], Side]]
    goals: Sequence[Goal]
    full: Amount
    quick: Amount
    tolerances: Mapping[str, float]
    operations: Callable[[], float] | None = None
    share: float | None = None
    own_memory: bool = True
    gpu: bool = False
    launched: bool = False
