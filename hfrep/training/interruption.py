"""Asking a run to stop: SIGTERM, Ctrl-C, or a launcher that died. The step under way is finished first."""

import os
import signal
from types import FrameType, TracebackType

WATCHED = (signal.SIGTERM, signal.SIGINT)
LAUNCHER_DIED = "its launcher died"
PARENT = os.getppid()  # asked early: the launcher may die while the corpus is prepared


class Interruption:
    """While entered, `reason` tells why the run should stop; a second signal stops it at once.

    A launcher that is killed leaves its processes training as orphans, and a restart would then have two writers in a
    folder (`accelerate launch` does not forward signals). Hence a launched process watches its parent.
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._launched = any(name.startswith(("ACCELERATE_", "TORCHELASTIC_")) for name in os.environ)

    @property
    def reason(self) -> str | None:
        if self._signal is not None:
            return signal.Signals(self._signal).name
        return LAUNCHER_DIED if self._launched and os.getppid() != PARENT else None

    @property
    def exit_status(self) -> int:
        """128 + the signal's number, as shells have it; a died launcher counts as SIGTERM."""
        return 128 + (self._signal or signal.SIGTERM)

    def __enter__(self) -> "Interruption":
        self._before = {number: signal.signal(number, self._note) for number in WATCHED}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = number
        signal.signal(number, self._before[signal.Signals(number)])
