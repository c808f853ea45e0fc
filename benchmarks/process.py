"""A side as a process: turns asked for on its standard input, what came of them on its standard output.

    python benchmarks/process.py COMPARISON SIDE

Sides live side by side and take turns, so that what else the machine does falls on all of them; the one that waits uses
no core.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil
from comparison import Comparison

# Of the user's environment, what would give one side other threads than the other.
THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "RAYON_NUM_THREADS")


class Peak:
    """Resident bytes of this process beyond those at the start, at their highest, looked at every few milliseconds."""

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.start = self.highest = self.process.memory_info().rss
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            self.highest = max(self.highest, self.process.memory_info().rss)
            time.sleep(0.005)


@dataclass(frozen=True)
class Answer:
    """What a side says after a turn; `peak` bytes are those beyond what was resident before its first turn."""

    units: float
    seconds: float
    peak: int
    answers: Mapping[str, float]


class Process:
    """A running side.

    Raises:
        SystemExit: it ended early; what it printed is shown.
    """

    def __init__(self, comparison: Comparison, side: str) -> None:
        self.side = side
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115 (open as long as the process)
        launcher = [sys.executable, "-m", "accelerate.commands.launch"] if comparison.launched else [sys.executable]
        self.process = subprocess.Popen(
            [*launcher, __file__, comparison.name, side],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
            env={name: value for name, value in os.environ.items() if name not in THREAD_SETTINGS},
        )

    def turn(self, amount: int) -> Answer:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(f"{amount}\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.said.seek(0)
            raise SystemExit(f"{self.side} ended early:\n{self.said.read()}")
        return Answer(**json.loads(line))

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()  # which ends it
        self.process.wait()
        self.said.close()


def serve(comparison: str, side: str) -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print summaries of their own
    found = importlib.import_module("comparisons").COMPARISONS[comparison]
    if not found.launched:
        threads()
    running = found.sides[side]()
    peak = Peak()
    for line in sys.stdin:
        units, seconds = running.turn(int(line))
        said = Answer(units, seconds, peak.highest - peak.start, dict(running.answers))
        print(json.dumps(vars(said)), file=answers, flush=True)


def threads() -> None:
    """All physical cores, the same for each side."""
    import torch

    from hfrep.training.launch import usable_cores

    torch.set_num_threads(usable_cores())


if __name__ == "__main__":
    serve(*sys.argv[1:])
