"""Positions → micro-batches: a data set whose item i is the i-th micro-batch of this process, whatever came before."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from hfrep.data.order import Addresses, Integers, Order, rank_slice
from hfrep.data.rows import Arrays, Rows

Batch = Mapping[str, torch.Tensor]


class Collator(Protocol):
    """Rows and their addresses → a batch. Small and picklable, for it is copied into the loader's workers."""

    def __call__(self, rows: Arrays, addresses: Addresses) -> dict[str, torch.Tensor]: ...


@dataclass(frozen=True)
class Division:
    """How a global batch is divided.

    Attributes:
        batch_rows: rows of an optimizer step over all processes.
        device_rows: rows of a micro-batch of one process, at most.
        rank, ranks: this process, and how many there are.
    """

    batch_rows: int
    device_rows: int
    rank: int
    ranks: int

    @property
    def micro_batches(self) -> int:
        """Micro-batches a step, the same on every process."""
        largest_slice = -(-self.batch_rows // self.ranks)
        return -(-largest_slice // self.device_rows)

    def positions(self, step: int, micro: int, end: int | None = None) -> Integers:
        """Positions of micro-batch `micro` of `step` on this process, none at or after `end`.

        There are none where another process's slice is one row larger, or where the rows of a pass are spent.
        """
        first = step * self.batch_rows
        last = first + self.batch_rows if end is None else min(first + self.batch_rows, end)
        start, stop = rank_slice(first, last, self.rank, self.ranks)
        start += micro * self.device_rows
        return np.arange(start, max(start, min(stop, start + self.device_rows)))


@dataclass(frozen=True)
class MicroBatches(Dataset[Batch]):
    """Item i is micro-batch ``i % micro_batches`` of step ``i // micro_batches``, ready for the model.

    A micro-batch without rows is a stand-in of one row, so that every process makes the same calls; its ``counted`` is
    0 where that of a true one is 1.

    Attributes:
        total_positions: of the whole run, for what changes over it; None where the budget is minutes.
        end: first position that is not taken, for a single pass; None for a stream without end.
    """

    rows: Rows
    order: Order
    division: Division
    collator: Collator
    total_positions: int | None = None
    end: int | None = None

    def __len__(self) -> int:
        """Micro-batches up to `end`, the same on every process."""
        assert self.end is not None, "a stream has no length"
        return -(-self.end // self.division.batch_rows) * self.division.micro_batches

    def addresses(self, positions: Integers) -> Addresses:
        passes, rows = self.order(positions)
        progress = positions / self.total_positions if self.total_positions else np.zeros(len(positions))
        return Addresses(passes, rows, np.minimum(progress, 1.0))

    def __getitem__(self, index: int) -> Batch:
        step, micro = divmod(index, self.division.micro_batches)
        positions = self.division.positions(step, micro, self.end)
        counted = len(positions) > 0
        addresses = self.addresses(positions if counted else np.zeros(1, np.int64))
        batch = self.collator(self.rows.take(addresses.rows), addresses)
        return {**batch, "counted": torch.tensor(float(counted))}


def rows_of_like_length(lengths: Integers, batch_tokens: int) -> Iterator[Integers]:
    """All rows of `lengths` int64 [n] once, the shortest first, in batches for one forward pass.

    A batch takes at most `batch_tokens` when padded, or one row.
    """
    order = np.argsort(lengths, kind="stable")
    ascending, first = lengths[order], 0
    while first < len(order):
        window = ascending[first : first + max(1, batch_tokens // max(1, int(ascending[first])))]
        padded = np.arange(1, len(window) + 1) * window
        number = max(1, int(np.searchsorted(padded, batch_tokens, side="right")))
        yield order[first : first + number]
        first += number


def batches_from(data: MicroBatches, step: int, workers: int, pin_memory: bool) -> Iterator[list[Batch]]:
    """The micro-batches of each step from `step` on, without end."""
    per_step = data.division.micro_batches
    loader: DataLoader[Batch] = DataLoader(
        data,
        batch_size=None,
        sampler=itertools.count(step * per_step),
        num_workers=workers,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # else it would draw from the global one, and dropout would differ after a resume
    )
    stream = iter(loader)
    while True:
        yield list(itertools.islice(stream, per_step))
