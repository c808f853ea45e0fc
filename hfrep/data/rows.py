"""The Rows contract: what objectives and the loop see of any data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from hfrep.data.order import Integers

Arrays = Mapping[str, NDArray[Any]]


class Rows(Protocol):
    """Numbered examples that can be taken in any order, many at a time, without loading the rest.

    Attributes:
        lengths: int64 [len], units per row where rows differ; None where all are alike.
        fingerprint: hex digest of the content.
    """

    @property
    def lengths(self) -> Integers | None: ...

    @property
    def fingerprint(self) -> str: ...

    def __len__(self) -> int: ...

    def take(self, indices: Integers) -> Arrays:
        """Named arrays whose first axis runs over `indices` (int64 [n]), in that order."""
        ...


Part = TypeVar("Part", bound=Rows)


@dataclass(frozen=True)
class Concatenated(Generic[Part]):
    """Several data sets numbered through, one after the other."""

    parts: Sequence[Part]
    fingerprint: str = field(init=False)
    lengths: Integers | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprint", "+".join(part.fingerprint for part in self.parts))

    @property
    def sizes(self) -> list[int]:
        return [len(part) for part in self.parts]

    def __len__(self) -> int:
        return sum(self.sizes)

    def take(self, indices: Integers) -> Arrays:
        ends = np.cumsum(self.sizes)
        owners = np.searchsorted(ends, indices, side="right")
        taken: dict[str, NDArray[Any]] = {}
        for number, part in enumerate(self.parts):
            here = np.flatnonzero(owners == number)
            if len(here) == 0:
                continue
            for name, values in part.take(indices[here] - (ends[number] - len(part))).items():
                whole = taken.setdefault(name, np.empty((len(indices), *values.shape[1:]), values.dtype))
                whole[here] = values
        return taken
