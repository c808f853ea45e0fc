"""The thread that brings to the Hub what waits in an outbox, while the run goes on."""

import threading
import time
from collections.abc import Callable

from hfrep.hub.faults import Fault
from hfrep.hub.outbox import Outbox

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds after a failure; doubled from one to the next


class Courier:
    """Delivers what waits, one branch after another, and tries again what failed in passing.

    Whatever happens to it, the thread that started it goes on.

    Args:
        deliver: one attempt at one branch; raises what huggingface_hub raises.
    """

    def __init__(self, outbox: Outbox, deliver: Callable[[str], None]) -> None:
        self.outbox, self._deliver = outbox, deliver
        self.faults: dict[str, Fault] = {}  # the last one of each branch that has not arrived
        self._news = threading.Condition()
        self._ends: float | None = None  # time of the monotonic clock after which no failure is tried again
        self._pause = FIRST_PAUSE
        self._thread = threading.Thread(target=self._work, name="courier", daemon=True)

    def start(self) -> None:
        """Begin with what waits, if that has not been done yet; the outbox has to have an address."""
        if self._thread.ident is None:
            self._thread.start()

    def wake(self, branch: str) -> None:
        """Look again: something new waits for `branch`."""
        with self._news:
            self.faults.pop(branch, None)
            self._news.notify()
        self.start()

    def finish(self, patience: float) -> dict[str, str]:
        """Wait until all has arrived, or until nothing more is tried; what has not, and why.

        Args:
            patience: seconds from now on in which what fails in passing is tried again. An attempt that goes on is
                never cut short.
        """
        with self._news:
            self._ends, self._pause = time.monotonic() + patience, FIRST_PAUSE
            self._news.notify()
        self.start()
        self._thread.join()
        return {branch: self._why(branch) for branch in self.outbox.waiting()}

    def _why(self, branch: str) -> str:
        return self.faults[branch].told if branch in self.faults else "not tried after the others failed"

    def _work(self) -> None:
        while (branch := self._next()) is not None:
            fault = self._attempt(branch)
            if fault is None:
                self.faults.pop(branch, None)
                self._pause = FIRST_PAUSE
                continue
            self.faults[branch] = fault
            if fault.passing and not self._rest(self._pause if fault.wait is None else fault.wait):
                return

    def _next(self) -> str | None:
        """The branch to try next, waited for while there is none; None when the run has ended and there is none."""
        with self._news:
            while True:
                for branch in self.outbox.waiting():
                    fault = self.faults.get(branch)
                    if fault is None or fault.passing:
                        return branch
                if self._ends is not None:
                    return None
                self._news.wait()

    def _attempt(self, branch: str) -> Fault | None:
        try:
            self._deliver(branch)
        except Exception as error:  # none may end the run
            return Fault.of(error)
        return None

    def _rest(self, seconds: float) -> bool:
        """Pause before the next attempt, or say that there is to be none any more. The end of the run cuts it short."""
        with self._news:
            if self._ends is None:
                self._pause = min(2 * self._pause, LONGEST_PAUSE)
                self._news.wait_for(lambda: self._ends is not None, seconds)
                return True
            self._pause *= 2
        if time.monotonic() + seconds > self._ends:
            return False
        time.sleep(seconds)
        return True
