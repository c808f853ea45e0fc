"""A prompt with its items as a task of lm-evaluation-harness, so that that tool can ask the same.

https://github.com/EleutherAI/lm-evaluation-harness, ``lm_eval.api.task.ConfigurableTask(config=…)``, version 0.4.13.
Demonstrations are the first ones there; give ``--demonstrations first`` and one template here.
"""

import json
from pathlib import Path
from typing import Any

from hfrep.evaluation.prompting.rendering import ask
from hfrep.tasks.items import PromptData
from hfrep.tasks.prompt import Row, Template

TARGET = "target"  # the column of the number of the right choice
PLACE = " {{answer}}"


def lm_eval_task(data: PromptData, template: Template, folder: Path) -> dict[str, Any]:
    """The configuration of the task, whose rows are written into `folder` as ``train.jsonl`` and ``validation.jsonl``.

    Args:
        template: one that ends in a blank and the answer.
    """
    prompt = data.prompt
    assert template.text.endswith(PLACE)
    files = {}
    for split, items in (("train", data.pool), ("validation", data.items)):
        files[split] = str(folder / f"{split}.jsonl")
        with open(files[split], "w", encoding="utf-8") as file:
            for row, target in zip(items.rows, items.targets.tolist(), strict=True):
                file.write(json.dumps({**row, TARGET: target}) + "\n")
    config = {
        "task": prompt.name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files, "cache_dir": str(folder / "datasets")},
        "training_split": "train",
        "validation_split": "validation",
        "fewshot_split": "train",
        "fewshot_config": {"sampler": "first_n"},
        "fewshot_delimiter": prompt.separator,
        "description": prompt.instruction + prompt.separator if prompt.instruction else "",
        "doc_to_text": template.text.removesuffix(PLACE),
    }
    if prompt.scored == "greedy":
        answer = f" {prompt.answer}"
        return (
            config
            | {"output_type": "loglikelihood", "doc_to_target": answer, "target_delimiter": ""}
            | _measured("acc")
        )

    def choices_of(row: Row) -> list[str]:
        return list(ask(prompt, template, row).choices)

    choices = {"output_type": "multiple_choice", "doc_to_target": TARGET, "doc_to_choice": choices_of}
    return config | choices | _measured("acc", "acc_norm", "acc_bytes")


def _measured(*metrics: str) -> dict[str, Any]:
    return {"metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in metrics]}
