"""What a run leaves to read: ``run.json``, ``metrics.jsonl``, ``loss.png``, trackers and a progress bar."""

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib as mpl
from accelerate import Accelerator
from tqdm import tqdm

from hfrep.errors import ConfigError
from hfrep.settings import setting

LIBRARIES = ("hfrep", "torch", "transformers", "tokenizers", "accelerate", "datasets", "numpy")


@dataclass(frozen=True, kw_only=True)
class RecordSettings:
    logging_steps: int = setting(10, "optimizer steps between records of the training loss", kind="operation")

    def __post_init__(self) -> None:
        if self.logging_steps < 1:
            raise ConfigError(where="logging_steps", expected="1 or more", found=str(self.logging_steps), do="raise it")


class Record:
    """Writes the run's records; does nothing on processes other than the main one."""

    def __init__(
        self, accelerator: Accelerator, settings: RecordSettings, output_dir: str, *, quiet: bool = False
    ) -> None:
        self.accelerator, self.logging_steps, self.quiet = accelerator, settings.logging_steps, quiet
        self.active = accelerator.is_main_process
        self.folder = Path(output_dir)
        self.bar: tqdm[Any] | None = None

    def open(self, run: Mapping[str, Any], *, step: int, done: float, tokens_per_step: int) -> None:
        """Start or continue: write ``run.json``, drop records later than `step`, and show the bar at `done` of 1."""
        self.tokens_per_step = tokens_per_step
        self.write_run(run)  # first: it is what makes the folder a run's
        if self.accelerator.log_with:
            self.accelerator.init_trackers("tracking")
        if not self.active:
            return
        kept = [record for record in self.metrics() if record["step"] <= step]
        _replace(self.folder / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in kept))
        self.bar = tqdm(
            total=100.0,
            initial=100 * done,
            bar_format="{desc} {bar} {percentage:3.0f}% {elapsed}<{remaining}{postfix}",
            desc="training",
            disable=None,  # no bar where the output is not a terminal
            file=sys.stderr,
            leave=not self.quiet,
        )

    def write_run(self, run: Mapping[str, Any]) -> None:
        if self.active:
            _replace(self.folder / "run.json", json.dumps(dict(run), indent=1, default=str))

    def metrics(self) -> list[dict[str, Any]]:
        """All records so far."""
        return read_metrics(self.folder)

    def step(self, step: int, progress: float, *, seconds_per_step: float, **values: float) -> None:
        """Record training values after `step` optimizer steps."""
        values["tokens_per_second"] = self.tokens_per_step / seconds_per_step
        self._write(step, values)
        if self.bar is not None:
            self.bar.n = 100 * progress
            self.bar.set_postfix_str(f"loss {values['loss']:.3f}, {values['tokens_per_second']:,.0f} tokens/s")

    def evaluation(self, step: int, values: Mapping[str, float]) -> None:
        """Record an evaluation after `step` steps and print it in a line."""
        self._write(step, values)
        if self.active and not self.quiet:
            shown = ", ".join(f"{name.removeprefix('eval_')} {value:.4g}" for name, value in values.items())
            tqdm.write(f"step {step:,}: {shown}", file=sys.stdout)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
        if self.active and not self.quiet:
            plot_losses(self.metrics(), self.folder / "loss.png")
        for tracker in self.accelerator.trackers:  # not end_training: the processes have more to say to each other
            tracker.finish()

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        if self.active:
            record = {"step": step, "tokens": step * self.tokens_per_step, **values}
            with open(self.folder / "metrics.jsonl", "a") as file:
                file.write(json.dumps(record) + "\n")
        if self.accelerator.log_with:
            self.accelerator.log(dict(values), step=step)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """All records so far of the run in `folder`; a line that a kill cut short is left out."""
    path = folder / "metrics.jsonl"
    records = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


def environment() -> dict[str, Any]:
    """What made this run: command, versions, commit of hfrep's source (None where it runs without), machine."""
    source = Path(__file__).parents[2]
    commit = ""
    if (source / "pyproject.toml").is_file():
        with suppress(OSError):  # no git
            command = ["git", "-C", str(source), "rev-parse", "HEAD"]
            commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "command": " ".join(sys.argv),
        "commit": commit or None,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: version(name) for name in LIBRARIES},
    }


def plot_losses(records: list[dict[str, Any]], path: Path) -> None:
    """Training and validation loss in nats over tokens, with the baselines where they were computed."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # after the backend is chosen

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for key, label, style in (("loss", "training", "-"), ("eval_loss", "validation", "o-")):
        points = [(record["tokens"], record[key]) for record in records if key in record]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=label, linewidth=1, markersize=4)
    for key, label in (("eval_unigram_loss", "unigram"), ("eval_bigram_loss", "bigram")):
        values = [record[key] for record in records if key in record]
        if values:
            axes.axhline(values[-1], linestyle="--", linewidth=0.8, color="gray")
            axes.annotate(
                label, (1, values[-1]), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8
            )
    axes.set(xlabel="tokens", ylabel="loss (nats per predicted token)")
    if axes.get_legend_handles_labels()[0]:  # a run may be stopped before its first record
        axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _replace(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}")
    aside.write_text(text)
    aside.replace(path)
