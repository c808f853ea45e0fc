"""What a recipe of adaptations prints and leaves: tables, a plot, submissions, and the proof that its folders open."""

import json
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from hfrep.adaptation.multitask import NAME
from hfrep.adaptation.study import Judged, ProtocolSettings, Row, TaskStudy
from hfrep.errors import ConfigError
from hfrep.evaluation.results import (
    Cell,
    Comparison,
    Results,
    as_json,
    compare,
    markdown_table,
    plot_results,
    text_table,
)
from hfrep.export import prove_reload, unproved
from hfrep.reports.folder import FolderReport
from hfrep.tasks.reading import MOST_HELD_OUT
from hfrep.tasks.submission import write_submission, zip_submission
from hfrep.training.launch import describe_device

INTERVALS = "95 % intervals by a bootstrap over examples and seeds"


class Report(FolderReport):
    """Collects the cells of the table."""

    def __init__(self, accelerator: Accelerator, groups: Sequence[Any], folder: Path) -> None:
        super().__init__(accelerator, groups, folder, {})
        self.protocol: ProtocolSettings = next(one for one in groups if isinstance(one, ProtocolSettings))
        self.judged: list[tuple[TaskStudy, Judged]] = []

    def begin(self, studies: Sequence[TaskStudy], rows: Sequence[Row]) -> None:
        """Say what is going to be done, and make the folder a run's."""
        self.plan(studies, rows)
        self.describe()
        self.accelerator.wait_for_everyone()

    def plan(self, studies: Sequence[TaskStudy], rows: Sequence[Row]) -> None:
        """Say what is going to be done.

        Raises:
            ConfigError: two tasks would share a column of the table.
        """
        titles = [study.data.task.title for study in studies]
        if twice := {title for title in titles if titles.count(title) > 1}:
            raise ConfigError(
                where="--task", expected="titles that differ", found=f"two called {min(twice)}", do="rename one"
            )
        self.say(f"device     {describe_device(self.accelerator)}")
        for study in studies:
            self.say(f"task       {study}")
        seeds = ", ".join(map(str, self.protocol.seeds))
        self.say(f"rows       {'; '.join(map(str, rows))}; seeds {seeds}")

    @property
    def cells(self) -> list[Cell]:
        return [judged.cell for _, judged in self.judged]

    def add(self, study: TaskStudy, judged: Judged) -> None:
        """Take a result in, and print it in a line."""
        self.judged.append((study, judged))
        cell = judged.cell
        metrics = ", ".join(f"{name} {value:.1%}" for name, value in cell.scores.by_metric.items())
        note = f" ({cell.note}, {cell.minutes:.1f} min a training)" if cell.trained else ""
        self.say(f"{cell.task}, {cell.row}: {metrics}{note}")

    def finish(self, studies: Sequence[TaskStudy]) -> None:
        """Print the tables, write ``results.json``, ``.md`` and ``.png``, and prove that what was saved opens."""
        if not self.accelerator.is_main_process:
            return
        results = Results(self.cells, list(self._comparisons()), [*self._protocol_lines(studies)])
        lines = [*text_table(results), *self._layer_lines()]
        (self.folder / "results.json").write_text(json.dumps(as_json(results), indent=1) + "\n", encoding="utf-8")
        (self.folder / "results.md").write_text(markdown_table(results), encoding="utf-8")
        plot_results(results, self.folder / "results.png")
        lines += self._submissions()
        self.describe(result=lines)
        self.say("\n".join(["", *lines, f"results    {self.folder}/results.json, results.md, results.png"]))
        if opened := prove_reload(unproved(self.folder)):
            worst = max(one.difference for one in opened)
            self.say(
                f"reloaded   {len(opened)} folders in a process without hfrep, each by the snippet in its card; logits "
                f"differ by at most {worst:.1g} of the largest"
            )

    def _comparisons(self) -> Iterator[Comparison]:
        """Pretrained against random weights, and each two adaptations."""
        rows = {cell.row for cell in self.cells}
        pretrained = [*self.protocol.adaptation, *([NAME] if NAME in rows else [])]
        for name in pretrained:
            if (random := str(Row(name, random_weights=True))) in rows:
                yield compare(self.cells, name, random)
        for first, second in combinations(pretrained, 2):
            yield compare(self.cells, first, second)

    def _protocol_lines(self, studies: Sequence[TaskStudy]) -> Iterator[str]:
        stopped = "when to stop, and " if self.protocol.early_stopping_patience else ""
        yield (
            f"protocol: {stopped}which of several learning rates or layers to take, was decided on "
            f"{self.protocol.held_out_share:.0%} of the training split (at most {MOST_HELD_OUT:,} examples), held out, "
            f"with seed {self.protocol.seeds[0]}; the reported splits were predicted once, at the end of each "
            f"training; minutes and memory are of a training alone; {INTERVALS}"
        )
        for study in studies:
            yield from (f"{study.data.task.title}: {note}" for note in study.data.notes)

    def _submissions(self) -> Iterator[str]:
        """Write what the GLUE server takes, where test splits were predicted; a line for each row."""
        for row in dict.fromkeys(judged.cell.row for _, judged in self.judged if judged.tests):
            folder = self.folder / "submission" / row.replace(", ", "-").replace(" ", "-")
            folder.mkdir(parents=True, exist_ok=True)
            notes = [
                write_submission(folder, study.data.task, name, predictions)
                for study, judged in self.judged
                if judged.cell.row == row
                for name, predictions in judged.tests.items()
            ]
            file, missing = zip_submission(folder)
            told = [*filter(None, notes), *([f"missing {', '.join(missing)}"] if missing else [])]
            yield f"submission {row}: {file}{''.join(f'; {note}' for note in told)}"

    def _layer_lines(self) -> Iterator[str]:
        """For each task and row whose layers were compared, the score of each."""
        for _, judged in self.judged:
            if len(judged.layers) > 1:
                scores = ", ".join(f"{layer}: {100 * scores.mean:.1f}" for layer, scores in judged.layers.items())
                yield f"{judged.cell.task}, {judged.cell.row}, points by layer  {scores}"
