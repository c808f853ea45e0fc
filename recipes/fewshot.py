"""Ask language models by prompts: zero-, one- and few-shot evaluation, in which no weight moves.

    accelerate launch recipes/fewshot.py
    accelerate launch recipes/fewshot.py --model_name_or_path my/gpt --data glue/ --task sst2 rte --shots 0 1 4 16
    accelerate launch recipes/fewshot.py --prompt my_prompt.yaml --train_file shown.jsonl --validation_file asked.jsonl

Without arguments it takes runs/clm/model, asks it about tasks that are made from the prose of the installed Python
packages, and needs no network. Several models are compared in one table and one plot; masked ones take part, asked at
their mask. Tables, plots and a record of each item are left in runs/fewshot.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator

from hfrep.data.tokenizer import load_tokenizer
from hfrep.errors import ConfigError, told_in_one_sentence
from hfrep.evaluation.prompting.corpora import open_corpora
from hfrep.evaluation.prompting.prompted_model import PromptedModel
from hfrep.evaluation.prompting.settings import PromptingSettings
from hfrep.evaluation.prompting.study import PromptStudy
from hfrep.models.language_model import open_language_model
from hfrep.reports.prompting import PromptingReport
from hfrep.settings import parse, setting
from hfrep.tasks.items import ItemSettings, open_items
from hfrep.training.launch import ProcessSettings, ThreadSettings, start

DEFAULT_MODEL = "runs/clm/model"


@dataclass(frozen=True, kw_only=True)
class ModelsSettings:
    model_name_or_path: list[str] = setting(
        [DEFAULT_MODEL], "language models, causal or masked: folders or Hub ids, one or more"
    )
    tokenizer: str | None = setting(
        None, "tokenizer: a folder or a Hub id; default: each model's", aliases=("tokenizer_name",)
    )
    dry_run: bool = setting(False, "read models and tasks, say what would be asked, and stop", kind="operation")
    output_dir: str = setting("runs/fewshot", "folder for tables, plots and records", kind="operation")

    def __post_init__(self) -> None:
        names = self.model_name_or_path
        if not names or len(set(names)) < len(names):
            found = ", ".join(names) or "none"
            raise ConfigError(
                where="--model_name_or_path", expected="one or more, each once", found=found, do="correct it"
            )

    def require_default(self) -> None:
        """Refuse to begin where the default model has not been trained yet.

        Raises:
            ConfigError: it has not.
        """
        if DEFAULT_MODEL in self.model_name_or_path and not Path(DEFAULT_MODEL).is_dir():
            raise ConfigError(
                where="--model_name_or_path",
                expected=f"a language model, by default {DEFAULT_MODEL}",
                found="no such folder",
                do="make one with recipes/clm.py (make clm), or name another",
            )

    def open(self, name: str, prompting: PromptingSettings, accelerator: Accelerator) -> PromptedModel:
        """The model `name`, ready to be asked."""
        tokenizer = load_tokenizer(self.tokenizer or name, own_pad=False)
        return PromptedModel(
            name,
            open_language_model(name, tokenizer).to(accelerator.device),
            tokenizer,
            accelerator,
            masked_scoring=prompting.masked_scoring,
            batch_tokens=prompting.eval_batch_tokens,
        )


GROUPS = (ModelsSettings, ItemSettings, PromptingSettings, ThreadSettings)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the recipe; returns the status to exit with."""
    groups = parse(*GROUPS, argv=argv, description=__doc__)
    models, items, prompting, threads = groups
    models.require_default()
    accelerator = start(ProcessSettings(cpu_threads=threads.cpu_threads, mixed_precision="no"), models.output_dir)
    report = PromptingReport(accelerator, groups, Path(models.output_dir))

    # All tasks are read and put into words before the first question, so that what is wrong is told at once.
    tasks = [open_items(prompt, items) for prompt in items.prompts()]
    prompted = [models.open(name, prompting, accelerator) for name in models.model_name_or_path]
    studies = [PromptStudy(model, data, prompting) for data in tasks for model in prompted]
    for study in studies:
        report.say(f"task       {study}")
    names = prompting.check_contamination
    corpora = {model.name: open_corpora(names, model.name) for model in prompted} if names else {}
    if models.dry_run:
        return 0
    with report.writing():
        report.begin()
        for study in studies:
            for shots in prompting.shots:
                report.add(study, study.ask(shots))
        report.finish(corpora)
    return 0


if __name__ == "__main__":
    with told_in_one_sentence():
        sys.exit(main())
