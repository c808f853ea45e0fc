"""What a recipe of prompts prints and leaves: tables, plots, and a record of each item."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from accelerate import Accelerator

from hfrep.data.order import Integers
from hfrep.evaluation.grid import Grid
from hfrep.evaluation.prompting.asking import Asking, Method
from hfrep.evaluation.prompting.calibration import Reliability
from hfrep.evaluation.prompting.contamination import Contamination
from hfrep.evaluation.prompting.plots import plot_reliability, plot_shots
from hfrep.evaluation.prompting.settings import PromptingSettings
from hfrep.evaluation.prompting.study import PromptStudy
from hfrep.evaluation.results import INTERVAL
from hfrep.evaluation.task_scores import Estimate, TaskScores
from hfrep.settings import as_dict
from hfrep.training.checkpoint import one_writer
from hfrep.training.launch import describe_device
from hfrep.training.record import Record, RecordSettings, environment

INTERVALS = "95 % intervals by a bootstrap over items, templates and seeds of demonstrations"


@dataclass(frozen=True, eq=False)
class Line:
    """A row of the table: one model on one task, with one number of demonstrations and one method."""

    study: PromptStudy
    asking: Asking
    method: Method
    scores: TaskScores

    @property
    def estimate(self) -> Estimate:
        return Estimate(self.scores.mean, *self.scores.interval())

    @property
    def verdict(self) -> str:
        """Whether it is more than guessing, as far as its interval goes."""
        guesses = self.study.guesses()
        beaten = [name for name, value in guesses.items() if self.estimate.low > value]
        if len(beaten) == len(guesses):
            return "better"
        return f"not above {' or '.join(name for name in guesses if name not in beaten)}"


class Report:
    """Collects answers; only the main process prints and writes.

    Args:
        groups: all settings of the recipe.
        folder: the recipe's.
    """

    def __init__(self, accelerator: Accelerator, groups: Sequence[Any], folder: Path) -> None:
        self.accelerator, self.folder, self.groups = accelerator, folder, groups
        self.settings: PromptingSettings = next(one for one in groups if isinstance(one, PromptingSettings))
        self.record = Record(accelerator, RecordSettings(), str(folder))
        self.lines: list[Line] = []
        self.contamination: dict[str, tuple[Contamination, Integers]] = {}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the folder's lock, on the main process, while the recipe writes to it."""
        with one_writer(self.folder) if self.accelerator.is_main_process else nullcontext():
            self.say(f"device     {describe_device(self.accelerator)}")
            if self.accelerator.is_main_process:
                self.record.write_run(self._description())
                self._items.write_text("", encoding="utf-8")
            self.accelerator.wait_for_everyone()
            yield

    def add(self, study: PromptStudy, asking: Asking) -> None:
        """Take answers in, and write them down item by item."""
        self.lines += [Line(study, asking, method, asking.scores(method)) for method in study.methods]
        if self.accelerator.is_main_process:
            with open(self._items, "a", encoding="utf-8") as file:
                file.writelines(json.dumps(record) + "\n" for record in asking.records(study.methods))

    def add_contamination(self, study: PromptStudy, found: Contamination) -> None:
        """Take in which items of a task stand in what the model was trained on."""
        self.contamination[_key(study)] = found, np.flatnonzero(~found.touched)

    def finish(self) -> None:
        """Print the table, and write ``results.json``, ``results.md``, ``shots.png`` and ``calibration.png``."""
        if not self.accelerator.is_main_process:
            return
        grid, notes = self._grid(), [*self._notes()]
        title = f"score in points; {INTERVALS}"
        markdown = [f"{title[0].upper()}{title[1:]}:", "", *grid.markdown(), "", *(f"- {note}" for note in notes)]
        (self.folder / "results.md").write_text("\n".join(markdown) + "\n", encoding="utf-8")
        found = {"lines": [self._as_json(line) for line in self.lines], "notes": notes}
        (self.folder / "results.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        plot_shots(self._curves(), self.folder / "shots.png", metric="score", title="Score by demonstrations")
        written = ["results.json", "results.md", "shots.png", "items.jsonl"]
        if reliable := self._reliable():
            plot_reliability(reliable, self.folder / "calibration.png", title="How sure and how right")
            written.append("calibration.png")
        self.record.write_run(self._description() | {"result": [*grid.text(), *notes]})
        self.say("\n".join([f"{title}:", *grid.text(), "", *notes, f"results    {self.folder}: {', '.join(written)}"]))

    def say(self, text: str) -> None:
        """Print on the main process."""
        if self.accelerator.is_main_process:
            print(text, flush=True)

    @property
    def _items(self) -> Path:
        return self.folder / "items.jsonl"

    def _description(self) -> dict[str, Any]:
        return {**environment(), "settings": as_dict(self.groups), "identity": {}}

    @property
    def _studies(self) -> list[PromptStudy]:
        return list(dict.fromkeys(line.study for line in self.lines))

    def _grid(self) -> Grid:
        header = ["task", "model", "method", "shots", "score", INTERVAL, "runs", "items", "ECE", "than guessing"]
        clean = ["without touched", INTERVAL] if self.contamination else []
        rows: list[list[str]] = []
        for study in self._studies:
            for line in [line for line in self.lines if line.study is study]:
                sure = line.asking.reliability(line.method)
                rows.append(
                    [
                        study.data.prompt.title,
                        study.asker.name,
                        str(line.method),
                        str(line.asking.shots),
                        *_points(line.estimate),
                        str(line.scores.seeds),
                        f"{len(line.asking.references):,}",
                        "" if sure is None else f"{100 * sure.expected_calibration_error:.1f}",
                        line.verdict,
                        *(self._clean(line) if clean else ()),
                    ]
                )
            if study is [one for one in self._studies if one.data is study.data][-1]:
                for name, value in study.guesses().items():
                    blank = [""] * (len(header) + len(clean) - 5)
                    rows.append([study.data.prompt.title, name, "", "", f"{100 * value:.1f}", *blank])
        return Grid([*header, *clean], rows, words=(0, 1, 2, 9))

    def _clean(self, line: Line) -> Sequence[str]:
        """The score on the items that do not stand in the corpus."""
        clean = self.contamination[_key(line.study)][1]
        if not len(clean):
            return "", "none left"
        scores = line.asking.scores(line.method, clean)
        return _points(Estimate(scores.mean, *scores.interval()))

    def _notes(self) -> Iterator[str]:
        for study in self._studies:
            yield f"protocol: {study.protocol()}"
            lines = [line for line in self.lines if line.study is study and line.method is study.methods[0]]
            for line in lines:
                if line.asking.dropped:
                    yield (
                        f"{study.data.prompt.title}, {study.asker.name}, {line.asking.shots} shots: "
                        f"{line.asking.dropped:,} demonstrations did not fit and were dropped, the oldest first"
                    )
            if cut := max(line.asking.cut for line in lines):
                yield f"{study.data.prompt.title}, {study.asker.name}: the beginnings of {cut:,} items were cut off"
            if _key(study) in self.contamination:
                found = self.contamination[_key(study)][0]
                yield f"contamination: {study.data.prompt.title}, {study.asker.name}: {found}"
        for data in {id(study.data): study.data for study in self._studies}.values():
            yield from (f"{data.prompt.title}: {note}" for note in data.notes)

    @property
    def _plotted(self) -> list[Line]:
        """Of several models one method each, of one model its calibrations: more curves nobody can tell apart."""
        models = {line.study.asker.name for line in self.lines}
        first = self.settings.normalization[0]
        return [
            line
            for line in self.lines
            if line.method == line.study.methods[0] or (len(models) == 1 and line.method.normalization == first)
        ]

    def _named(self, line: Line) -> str:
        """The name of a curve: what its model's differs in from the others', and the method where there are several."""
        name = line.study.asker.name
        parts = {PurePath(study.asker.name).parts for study in self._studies}
        if len(parts) > 1:
            common = itertools.takewhile(lambda level: len(set(level)) == 1, zip(*parts, strict=False))
            name = str(PurePath(*PurePath(name).parts[len(list(common)) :]))
        return name if len(line.study.methods) == 1 else f"{name} ({line.method})"

    def _curves(self) -> dict[str, tuple[dict[str, dict[int, Estimate]], Mapping[str, float]]]:
        panels: dict[str, tuple[dict[str, dict[int, Estimate]], Mapping[str, float]]] = {}
        for line in self._plotted:
            curves, _ = panels.setdefault(line.study.data.prompt.title, ({}, line.study.guesses()))
            curves.setdefault(self._named(line), {})[line.asking.shots] = line.estimate
        return panels

    def _reliable(self) -> dict[str, dict[str, Reliability]]:
        """Of the highest number of demonstrations."""
        panels: dict[str, dict[str, Reliability]] = {}
        for line in self._plotted:
            found = line.asking.reliability(line.method)
            if found is not None and line.asking.shots == max(self.settings.shots):
                panels.setdefault(line.study.data.prompt.title, {})[self._named(line)] = found
        return panels

    def _as_json(self, line: Line) -> dict[str, Any]:
        sure = line.asking.reliability(line.method)
        return {
            "task": line.study.data.prompt.name,
            "model": line.study.asker.name,
            "normalization": line.method.normalization,
            "calibration": line.method.calibration,
            "shots": line.asking.shots,
            "score": line.estimate.value,
            "low": line.estimate.low,
            "high": line.estimate.high,
            "by_metric": dict(line.scores.by_metric),
            "by_run": [
                {"template": run.template, "seed": run.seed, "score": score}
                for run, score in zip(line.asking.runs, line.scores.by_seed.tolist(), strict=True)
            ],
            "guesses": dict(line.study.guesses()),
            "items": len(line.asking.references),
            "dropped_demonstrations": line.asking.dropped,
            "cut_items": line.asking.cut,
            "expected_calibration_error": None if sure is None else sure.expected_calibration_error,
            "protocol": line.study.protocol(),
        }


def _key(study: PromptStudy) -> str:
    return f"{study.asker.name} {study.data.prompt.name}"


def _points(estimate: Estimate) -> tuple[str, str]:
    return f"{100 * estimate.value:.1f}", f"{100 * estimate.low:.1f} … {100 * estimate.high:.1f}"
