"""Adapt a pretrained model to tasks: all weights, frozen features, or LoRA; and judge what came out.

    accelerate launch recipes/glue.py
    accelerate launch recipes/glue.py --model_name_or_path my/model --data glue/ --task cola mrpc --seeds 0 1 2
    accelerate launch recipes/glue.py --train_file train.jsonl --validation_file test.jsonl --text_columns text

Without arguments it takes runs/mlm/model, adapts it three ways to tasks that are made from the prose of the installed
Python packages, and needs no network. Tables, plot and models are left in runs/glue. The same command again goes on
where it was stopped.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from hfrep.adaptation.adapters import AdapterSettings
from hfrep.adaptation.base import FeatureSettings, FineTuningSettings, Problem
from hfrep.adaptation.fit import Fitter, RunInterruptedError, TrainingSettings
from hfrep.adaptation.multitask import MultitaskSettings, MultitaskStudy
from hfrep.adaptation.report import Report
from hfrep.adaptation.source import SourceSettings
from hfrep.adaptation.study import ProtocolSettings, TaskStudy
from hfrep.data.cache import default_cache
from hfrep.errors import told_in_one_sentence
from hfrep.hub.bases import require_on_hub
from hfrep.hub.settings import PushSettings
from hfrep.hub.uploads import Uploads
from hfrep.settings import parse
from hfrep.tasks.reading import TaskSettings, open_task
from hfrep.training.budget import BudgetSettings
from hfrep.training.checkpoint import CheckpointSettings
from hfrep.training.launch import ProcessSettings, start
from hfrep.training.loop import LoopSettings
from hfrep.training.record import RecordSettings

GROUPS = (
    SourceSettings,
    TaskSettings,
    ProtocolSettings,
    MultitaskSettings,
    FeatureSettings,
    AdapterSettings,
    FineTuningSettings,
    BudgetSettings,
    LoopSettings,
    CheckpointSettings,
    RecordSettings,
    PushSettings,
    ProcessSettings,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the recipe; returns the status to exit with."""
    groups = parse(*GROUPS, argv=argv, description=__doc__, defaults={"output_dir": "runs/glue"})
    (
        source,
        tasks,
        protocol,
        multitask,
        features,
        adapters,
        fine_tuning,
        length,
        loop,
        checkpoint,
        record,
        hub,
        process,
    ) = groups
    accelerator = start(process, checkpoint.output_dir)
    tokenizer = source.open_tokenizer()
    uploads = Uploads.open(hub, checkpoint.output_dir, accelerator)
    if hub.push_to_hub and set(protocol.adaptation) != {"full"}:
        require_on_hub(source.model_name_or_path)  # what the others save is of no use without it
    folder, cache = Path(checkpoint.output_dir), default_cache()
    report = Report(accelerator, groups, folder)
    training = TrainingSettings(loop, length, fine_tuning, checkpoint, record, protocol.early_stopping_patience)
    fitter = Fitter(accelerator, training)

    # Every task is read before the first training, so that what is wrong with the last one is told at once.
    studies = [
        TaskStudy(
            data,
            Problem(
                model=source.model_name_or_path,
                task=data.task,
                tokenizer=tokenizer,
                features=features,
                adapters=adapters,
                dropout=fine_tuning.dropout,
                cache=cache,
                device=accelerator.device,
            ),
            fitter,
            protocol,
            length=source.length(tokenizer),
            folder=folder,
        )
        for data in [open_task(name, tasks, test=protocol.predict_test) for name in tasks.names]
    ]
    together = MultitaskStudy(studies, multitask.multitask_power, folder) if multitask.multitask else None
    rows = protocol.rows + (together.rows if together else [])
    if process.dry_run:
        report.plan(studies, rows)
        return 0
    with uploads, report.writing():
        report.begin(studies, rows)
        studies[0].try_out()
        try:
            for study in studies:
                report.add(study, study.majority())
                for row in protocol.rows:
                    report.add(study, study.judge(row))
            for row in together.rows if together else ():
                for study, judged in zip(studies, together.judge(row), strict=True):
                    report.add(study, judged)
        except RunInterruptedError as stop:
            return stop.exit_status
        report.finish(studies)
    return 0


if __name__ == "__main__":
    with told_in_one_sentence():
        sys.exit(main())
