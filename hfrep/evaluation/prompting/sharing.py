"""Work that processes divide among them."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from accelerate import Accelerator
from accelerate.utils import gather_object

Piece = TypeVar("Piece")
Name = TypeVar("Name")
Result = TypeVar("Result")


def shared(
    pieces: Sequence[Piece], accelerator: Accelerator, do: Callable[[Sequence[Piece]], dict[Name, Result]]
) -> dict[Name, Result]:
    """What `do` makes of all `pieces`, on every process; each does every so-manieth of them."""
    mine = pieces[accelerator.process_index :: accelerator.num_processes]
    together: dict[Name, Result] = {}
    for part in gather_object([do(mine)]):
        together |= part
    return together
