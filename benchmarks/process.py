"""A side as a process: turns asked for on its standard input, what came of them on its standard output.

    python benchmarks/process.py COMPARISON SIDE

Sides live side by side and take turns, so that what else the machine does falls on all of them; one that waits only
waits for a line.
"""

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from comparison import Comparison, Side

# Of the user's environment, what would give one side other threads than the other.
THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "RAYON_NUM_THREADS")
READY = "ready"
PATIENCE, DEADLINE = 20, 3600  # seconds that a side may take to end, and for a turn


@dataclass(frozen=True)
class Answer:
    """What a side says after a turn; `peak` bytes are those beyond what was resident before its first turn."""

    units: float
    seconds: float
    peak: int | None
    answers: Mapping[str, float]


class Process:
    """A side that was started; `wait` until it is ready."""

    def __init__(self, side: str, command: Sequence[str]) -> None:
        self.side = side
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115 (open as long as the process)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
            env={name: value for name, value in os.environ.items() if name not in THREAD_SETTINGS},
            start_new_session=True,  # a launcher and what it launched can be ended together
        )

    @classmethod
    def of(cls, comparison: Comparison, side: str) -> "Process":
        launcher = ["-m", "accelerate.commands.launch"] if comparison.launched else []
        return cls(side, [sys.executable, *launcher, __file__, comparison.name, side])

    def wait(self) -> None:
        """Until it is ready.

        Raises:
            SystemExit: it ended early; what it printed is shown.
        """
        if (line := self._read()) != f"{READY}\n":
            raise SystemExit(f"{self.side} printed {line!r} where it was to say that it is ready")

    def turn(self, amount: int) -> Answer:
        """A turn of a side that is ready.

        Raises:
            SystemExit: it ended early; what it printed is shown.
        """
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{amount}\n")
            self.process.stdin.flush()
        return Answer(**json.loads(self._read()))

    def close(self) -> None:
        """End it, by force if it does not end by itself."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)
        self._kill()
        self.process.wait()
        self.said.close()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _read(self) -> str:
        assert self.process.stdout is not None
        deadline = threading.Timer(DEADLINE, self._kill)
        deadline.start()
        line = self.process.stdout.readline()
        deadline.cancel()
        if not line:
            self.said.seek(0)
            said = self.said.read()
            self.close()
            raise SystemExit(f"{self.side} ended early:\n{said}")
        return line


def serve(make: Callable[[], Side], *, gpu: bool = False) -> None:
    """Be a side, until the standard input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print summaries of their own
    side = make()
    import torch

    from hfrep.training.memory import PeakMemory

    gc.collect()
    with PeakMemory(torch.device("cuda" if gpu else "cpu")) as memory:
        print(READY, file=answers, flush=True)
        for line in sys.stdin:
            turn = side.turn(int(line))
            answer = Answer(turn.units, turn.seconds, memory.so_far(), dict(side.answers))
            print(json.dumps(vars(answer)), file=answers, flush=True)


def main(comparison: str, side: str) -> None:
    found = importlib.import_module("comparisons").COMPARISONS[comparison]
    if not found.launched:
        import torch

        from hfrep.training.launch import usable_cores

        torch.set_num_threads(usable_cores())
    serve(found.sides[side], gpu=found.gpu)


if __name__ == "__main__":
    main(*sys.argv[1:])
