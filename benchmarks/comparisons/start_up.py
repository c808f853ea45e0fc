"""From the start of a process to the end of its first training step, where the text was prepared before."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from comparison import OURS, Amount, Comparison, Goal, Turn
from process import THREAD_SETTINGS

from hfrep.data.corpus import CorpusSettings, open_corpus

ROOT = Path(__file__).parents[2]
TOKENIZER = ROOT / "tokenizers" / "wordpiece-8k"
LOOKED_EVERY, DEADLINE = 0.01, 600  # seconds
MEGABYTES = 4


class StartUpSide:
    """A turn starts a process a number of times; the first one prepares the text, and is not measured."""

    def __init__(self, command: Callable[[Path, Path], tuple[list[str], Path]]) -> None:
        self.command, self.answers = command, {}
        self.folder = tempfile.TemporaryDirectory()
        self.corpus = Path(self.folder.name) / "corpus.jsonl"
        size = 0
        with self.corpus.open("w") as file:
            for text in open_corpus("docstrings", CorpusSettings()).documents():
                file.write(json.dumps({"text": text}) + "\n")
                if (size := size + len(text.encode())) > MEGABYTES * 1e6:
                    break
        self._start()
        self.prepared = self._caches()

    def turn(self, amount: int) -> Turn:
        seconds = sum(self._start() for _ in range(amount))
        if (found := self._caches()) != self.prepared:
            raise SystemExit(f"prepared anew, not found in the cache: {sorted(found - self.prepared)}")
        return Turn(amount, seconds)

    def _caches(self) -> set[Path]:
        """Files of prepared text."""
        return {path for path in Path(self.folder.name).rglob("*") if path.suffix in (".arrow", ".bin")}

    def _start(self) -> float:
        """Seconds until the process says that it has done a step."""
        with tempfile.TemporaryDirectory() as output:
            command, sign = self.command(self.corpus, Path(output))
            began = time.perf_counter()
            with _running(command, Path(self.folder.name)) as process:
                while not (sign.exists() and sign.stat().st_size):
                    if process.poll() is not None or time.perf_counter() - began > DEADLINE:
                        raise SystemExit(f"{command}: no first step (status {process.poll()})")
                    time.sleep(LOOKED_EVERY)
                return time.perf_counter() - began


@contextmanager
def _running(command: list[str], cache: Path) -> Iterator[subprocess.Popen]:
    settings = {name: value for name, value in os.environ.items() if name not in THREAD_SETTINGS}
    settings |= {"HFREP_CACHE": str(cache / "hfrep"), "HF_DATASETS_CACHE": str(cache / "datasets")}
    process = subprocess.Popen(command, env=settings | {"HF_HUB_OFFLINE": "1"}, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ours(corpus: Path, output: Path) -> tuple[list[str], Path]:
    run = output / "run"
    command = [sys.executable, str(ROOT / "recipes" / "mlm.py"), "--corpus", str(corpus), "--output_dir", str(run)]
    settings = ["--tokenizer", str(TOKENIZER), "--model", "bert-mini", "--train_batch_size", "32"]
    return [*command, *settings, "--max_steps", "1000", "--logging_steps", "1"], run / "metrics.jsonl"


def stock(corpus: Path, output: Path) -> tuple[list[str], Path]:
    script = ROOT / "benchmarks" / "example_flow.py"
    return [sys.executable, str(script), str(corpus), str(TOKENIZER), str(output)], output / "step"


START_UP = Comparison(
    name="start_up",
    what="start of the process to the first step, text prepared before",
    unit="starts",
    sides={OURS: lambda: StartUpSide(ours), "example script": lambda: StartUpSide(stock)},
    goals=[Goal("example script", 1.0)],
    full=Amount(turn=1, rounds=5),
    quick=Amount(turn=1, rounds=1),
    tolerances={},
    own_memory=False,
)
