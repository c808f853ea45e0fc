"""What a recipe of prompts prints and leaves: tables, plots, and a record of each item."""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from accelerate import Accelerator

from hfrep.data.order import Integers
from hfrep.errors import ConfigError
from hfrep.evaluation.grid import Grid
from hfrep.evaluation.interval import wilson
from hfrep.evaluation.prompting.calibration import Reliability
from hfrep.evaluation.prompting.contamination import Contamination, contaminated_items
from hfrep.evaluation.prompting.outcome import Method, Outcome
from hfrep.evaluation.prompting.plots import plot_reliability, plot_shots
from hfrep.evaluation.prompting.settings import PromptingSettings
from hfrep.evaluation.prompting.study import PromptStudy
from hfrep.evaluation.results import INTERVAL
from hfrep.evaluation.task_scores import Estimate, TaskScores
from hfrep.reports.folder import FolderReport
from hfrep.training.launch import describe_device

IDENTITY = {"recipe": "fewshot"}
OUTPUTS = ("results.json", "results.md", "shots.png", "calibration.png", "items.jsonl")
INTERVALS = "95 % intervals by a bootstrap over items, templates and seeds of demonstrations"


@dataclass(frozen=True, eq=False)
class Line:
    """A row of the table: one model on one task, with one number of demonstrations and one method."""

    study: PromptStudy
    outcome: Outcome
    method: Method
    scores: TaskScores

    @property
    def estimate(self) -> Estimate:
        return _estimate(self.scores)

    @property
    def verdict(self) -> str:
        """Whether it is more than guessing, as far as its interval goes; empty where nothing can be guessed."""
        guesses = self.study.guesses
        if not guesses:
            return ""
        beaten = [name for name, value in guesses.items() if self.estimate.low > value]
        if len(beaten) == len(guesses):
            return "better"
        return f"not above {' or '.join(name for name in guesses if name not in beaten)}"


class PromptingReport(FolderReport):
    """Collects answers."""

    def __init__(self, accelerator: Accelerator, groups: Sequence[Any], folder: Path) -> None:
        super().__init__(accelerator, groups, folder, IDENTITY)
        self.settings: PromptingSettings = next(one for one in groups if isinstance(one, PromptingSettings))
        self.lines: list[Line] = []
        self.contamination: dict[str, tuple[Contamination, Integers]] = {}

    def begin(self) -> None:
        """Say what it runs on, and make the folder this run's: what an earlier one left is cleared away.

        Raises:
            ConfigError: it is the folder of another kind of run.
        """
        self.say(f"device     {describe_device(self.accelerator)}")
        if self.accelerator.is_main_process:
            self._require_own_folder()
            for name in OUTPUTS:
                (self.folder / name).unlink(missing_ok=True)
            self.describe()
        self.accelerator.wait_for_everyone()

    def add(self, study: PromptStudy, outcome: Outcome) -> None:
        """Take answers in, and write them down item by item."""
        if self.accelerator.is_main_process:
            with open(self._items, "a", encoding="utf-8") as file:
                file.writelines(json.dumps(record) + "\n" for record in outcome.records(study.methods))
        outcome = outcome.without_texts()
        self.lines += [Line(study, outcome, method, outcome.scores(method)) for method in study.methods]

    def finish(self, corpora: Mapping[str, Callable[[], Iterator[str]]]) -> None:
        """Print the table, and write ``results.json``, ``results.md``, ``shots.png`` and ``calibration.png``.

        Args:
            corpora: what reads the documents in which to look for items, by model; none where it was not asked for.
        """
        if not self.accelerator.is_main_process:
            return
        for name, documents in corpora.items():
            self._check_contamination([study for study in self._studies if study.model.name == name], documents())
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
        self.describe(result=[*grid.text(), *notes])
        self.say("\n".join([f"{title}:", *grid.text(), "", *notes, f"results    {self.folder}: {', '.join(written)}"]))

    @property
    def _items(self) -> Path:
        return self.folder / "items.jsonl"

    def _require_own_folder(self) -> None:
        run = self.folder / "run.json"
        if run.exists() and json.loads(run.read_text(encoding="utf-8"))["identity"] != IDENTITY:
            raise ConfigError(
                where=str(self.folder),
                expected="a folder without a run, or with one of recipes/fewshot.py",
                found="the run.json of another recipe",
                do="give another --output_dir",
            )

    @property
    def _studies(self) -> list[PromptStudy]:
        return list(dict.fromkeys(line.study for line in self.lines))

    def _grid(self) -> Grid:
        header = ["task", "model", "method", "shots", "score", INTERVAL, "runs", "items", "ECE", "than guessing"]
        clean = ["without touched", f"its {INTERVAL}"] if self.contamination else []
        rows: list[list[str]] = []
        for study in self._studies:
            for line in [line for line in self.lines if line.study is study]:
                sure = line.outcome.reliability(line.method)
                rows.append(
                    [
                        study.data.prompt.title,
                        study.model.name,
                        str(line.method),
                        str(line.outcome.shots),
                        *_points(line.estimate),
                        str(line.scores.seeds),
                        f"{len(line.outcome.references):,}",
                        "" if sure is None else f"{100 * sure.expected_calibration_error:.1f}",
                        line.verdict,
                        *(self._clean(line) if clean else ()),
                    ]
                )
            if study is [one for one in self._studies if one.data is study.data][-1]:
                for name, value in study.guesses.items():
                    blank = [""] * (len(header) + len(clean) - 5)
                    rows.append([study.data.prompt.title, name, "", "", f"{100 * value:.1f}", *blank])
        return Grid([*header, *clean], rows, words=(0, 1, 2, 9))

    def _check_contamination(self, studies: Sequence[PromptStudy], documents: Iterator[str]) -> None:
        """Which items of one model's tasks stand in `documents`, which are read once for all."""
        texts = [study.texts() for study in studies]
        found = contaminated_items([one for items in texts for one in items], documents)
        ends = np.cumsum([len(items) for items in texts])
        for study, end, items in zip(studies, ends.tolist(), texts, strict=True):
            part = slice(end - len(items), end)
            mine = Contamination(found.touched[part], found.checked[part], found.documents)
            self.contamination[_key(study)] = mine, np.flatnonzero(~mine.touched)

    def _clean(self, line: Line) -> Sequence[str]:
        """The score on the items that do not stand in the corpus."""
        clean = self.contamination[_key(line.study)][1]
        if not len(clean):
            return "", "none left"
        scores = line.outcome.scores(line.method, clean)
        return _points(_estimate(scores))

    def _notes(self) -> Iterator[str]:
        for study in self._studies:
            yield f"protocol: {study.protocol(self.settings.shots, study.methods)}"
            if study.model.shares is False:
                yield f"{study.model.name} read each text whole: its class does not share what texts have in common"
            lines = [line for line in self.lines if line.study is study and line.method is study.methods[0]]
            for line in lines:
                wanted = line.outcome.shots * len(line.outcome.references) * len(line.outcome.runs)
                if line.outcome.dropped:
                    yield (
                        f"{study.data.prompt.title}, {study.model.name}, {line.outcome.shots} shots: "
                        f"{line.outcome.dropped:,} of {wanted:,} "
                        "demonstrations did not fit and were dropped, the oldest first"
                    )
            if cut := max(line.outcome.cut for line in lines):
                yield f"{study.data.prompt.title}, {study.model.name}: the beginnings of {cut:,} items were cut off"
            if _key(study) in self.contamination:
                found = self.contamination[_key(study)][0]
                yield f"contamination: {study.data.prompt.title}, {study.model.name}: {found}"
        for data in {id(study.data): study.data for study in self._studies}.values():
            yield from (f"{data.prompt.title}: {note}" for note in data.notes)

    @property
    def _plotted(self) -> list[Line]:
        """Of several models one method each, of one model its calibrations: more curves nobody can tell apart."""
        models = {line.study.model.name for line in self.lines}
        first = self.settings.normalization[0]
        return [
            line
            for line in self.lines
            if line.method == line.study.methods[0] or (len(models) == 1 and line.method.normalization == first)
        ]

    def _named(self, line: Line) -> str:
        """The name of a curve: what its model's differs in from the others', and the method where there are several."""
        name = line.study.model.name
        parts = {PurePath(study.model.name).parts for study in self._studies}
        if len(parts) > 1:
            common = itertools.takewhile(lambda level: len(set(level)) == 1, zip(*parts, strict=False))
            name = str(PurePath(*PurePath(name).parts[len(list(common)) :]))
        methods = {str(other.method) for other in self._plotted if other.outcome.data.prompt.scored == "choices"}
        return f"{name} ({line.method})" if len(methods) > 1 and str(line.method) in methods else name

    def _curves(self) -> dict[str, tuple[dict[str, dict[int, Estimate]], Mapping[str, float]]]:
        panels: dict[str, tuple[dict[str, dict[int, Estimate]], Mapping[str, float]]] = {}
        for line in self._plotted:
            curves, _ = panels.setdefault(line.study.data.prompt.title, ({}, line.study.guesses))
            curves.setdefault(self._named(line), {})[line.outcome.shots] = line.estimate
        return panels

    def _reliable(self) -> dict[str, dict[str, Reliability]]:
        """Of the highest number of demonstrations."""
        panels: dict[str, dict[str, Reliability]] = {}
        for line in self._plotted:
            found = line.outcome.reliability(line.method)
            if found is not None and line.outcome.shots == max(self.settings.shots):
                panels.setdefault(line.study.data.prompt.title, {})[self._named(line)] = found
        return panels

    def _contamination_as_json(self, line: Line) -> dict[str, Any]:
        if _key(line.study) not in self.contamination:
            return {}
        found, clean = self.contamination[_key(line.study)]
        counts = {"touched_items": int(found.touched.sum()), "checked_items": int(found.checked.sum())}
        if not len(clean):
            return counts
        return counts | {"without_touched": asdict(_estimate(line.outcome.scores(line.method, clean)))}

    def _as_json(self, line: Line) -> dict[str, Any]:
        sure = line.outcome.reliability(line.method)
        return {
            "task": line.study.data.prompt.name,
            "model": line.study.model.name,
            "normalization": line.method.normalization,
            "calibration": line.method.calibration,
            "shots": line.outcome.shots,
            "score": line.estimate.value,
            "low": line.estimate.low,
            "high": line.estimate.high,
            "by_metric": dict(line.scores.by_metric),
            "by_run": [
                {
                    "template": run.template,
                    "seed": run.seed,
                    "score": score,
                    "content_free_nats": None if run.content_free is None else run.content_free.nats.tolist(),
                }
                for run, score in zip(line.outcome.runs, line.scores.by_seed.tolist(), strict=True)
            ],
            "guesses": dict(line.study.guesses),
            **self._contamination_as_json(line),
            "items": len(line.outcome.references),
            "dropped_demonstrations": line.outcome.dropped,
            "cut_items": line.outcome.cut,
            "expected_calibration_error": None if sure is None else sure.expected_calibration_error,
            "protocol": line.study.protocol([line.outcome.shots], [line.method]),
        }


def _estimate(scores: TaskScores) -> Estimate:
    """With Wilson's interval where the bootstrap has none: all answers right, or all wrong."""
    low, high = scores.interval()
    if low == high and scores.metrics == ("accuracy",):
        low, high = wilson(scores.mean, len(scores.parts[0].references))
    return Estimate(scores.mean, low, high)


def _key(study: PromptStudy) -> str:
    return f"{study.model.name} {study.data.prompt.name}"


def _points(estimate: Estimate) -> tuple[str, str]:
    return f"{100 * estimate.value:.1f}", f"{100 * estimate.low:.1f} … {100 * estimate.high:.1f}"
