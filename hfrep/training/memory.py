"""How much memory a piece of work takes at its peak."""

from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar

import psutil
import torch

from hfrep.training.allocator import give_back_freed_memory

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # see proc(5), clear_refs


class PeakMemory:
    """``with PeakMemory(device) as memory``: what `memory.bytes` then says is the peak above the level at the start.

    On a GPU it is what tensors took, elsewhere what was resident; None where the system does not tell. One may stand
    within another.
    """

    bytes: int | None = None
    _noted: int | None = None
    _open: ClassVar[list["PeakMemory"]] = []  # the system keeps one peak: each notes what it was before it is set back

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __enter__(self) -> "PeakMemory":
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self._before = torch.cuda.memory_allocated(self.device)
        else:
            for outer in self._open:
                outer._noted = outer.so_far()
            give_back_freed_memory()
            self._before = psutil.Process().memory_info().rss
            self._can_reset = False
            with suppress(OSError):
                CLEAR.write_text(RESET_PEAK)
                self._can_reset = True
            self._open.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bytes = self.so_far()
        if self in self._open:
            self._open.remove(self)

    def so_far(self) -> int | None:
        """What `bytes` would be if the work ended here."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) - self._before
        if not self._can_reset:
            return None
        lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
        return max(0, self._noted or 0, int(lines["VmHWM"].split()[0]) * 1024 - self._before)
