"""Pretrain a masked language model from raw text.

    accelerate launch recipes/mlm.py
    accelerate launch recipes/mlm.py --corpus my_texts/ --model bert-small --max_minutes 60 --output_dir runs/mine

Without arguments it trains on the prose of the installed Python packages for four minutes, needs no network, and leaves
in runs/mlm/model what `AutoModelForMaskedLM` opens. The same command again goes on where it was stopped.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import nn

from hfrep.data.blocks import BlockSettings
from hfrep.data.text import TextSettings, open_text, settled
from hfrep.data.tokenizer import load_tokenizer, tokenizer_hash
from hfrep.errors import told_in_one_sentence
from hfrep.evaluation.fillings import fillings
from hfrep.evaluation.language_modeling import (
    ValidationSettings,
    language_modeling_metrics,
    totals,
    validation_batches,
)
from hfrep.evaluation.ngrams import masked_targets, ngram_baselines
from hfrep.export import whole
from hfrep.hub.settings import HubSettings
from hfrep.hub.uploads import Uploads
from hfrep.models.initialization import initialize_from_text
from hfrep.models.memory import training_bytes
from hfrep.models.presets import MaskedModelSettings, build_model
from hfrep.models.scaling import ScalingSettings, budget_advice
from hfrep.objectives.masking import VALIDATION_SEED, MaskedLMCollator, MaskingSettings, special_tokens
from hfrep.objectives.mlm import MaskedLM
from hfrep.publish import publish
from hfrep.settings import parse, resolved
from hfrep.training.budget import Budget, BudgetSettings
from hfrep.training.checkpoint import CheckpointSettings
from hfrep.training.launch import LaunchSettings, start
from hfrep.training.loop import LoopSettings
from hfrep.training.optim import OptimizerSettings
from hfrep.training.profile import step_profile
from hfrep.training.record import RecordSettings
from hfrep.training.run import Run

TOKENIZER = Path(__file__).parent.parent / "tokenizers" / "wordpiece-8k"
GROUPS = (
    TextSettings,
    BlockSettings,
    MaskedModelSettings,
    MaskingSettings,
    LoopSettings,
    BudgetSettings,
    ScalingSettings,
    OptimizerSettings,
    ValidationSettings,
    CheckpointSettings,
    RecordSettings,
    HubSettings,
    LaunchSettings,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the recipe; returns the status to exit with."""
    defaults = {"output_dir": "runs/mlm"}
    groups = parse(*GROUPS, argv=argv, description=__doc__, defaults=defaults)
    corpora, cut, shape, masking, loop, length, scaling, _, checking, checkpoint, _, hub, launch = groups
    shape, length = shape.or_default("bert-mini"), length.or_default(max_minutes=4)
    corpora, cut = settled(corpora, cut, model=shape.model_name_or_path, tokenizer=str(TOKENIZER))
    groups = resolved(groups, shape, length, corpora, cut)
    masking.require_known_length(length.max_minutes)
    accelerator = start(launch, checkpoint.output_dir)
    uploads = Uploads.open(hub, checkpoint.output_dir, accelerator)

    # Model and objective, before the text, which may take long to prepare.
    tokenizer = load_tokenizer(cut.tokenizer)
    tokenizer.model_max_length = shape.trained_length(tokenizer, cut.sequence_length)
    model = build_model(shape, tokenizer=tokenizer, sequence_length=cut.sequence_length)
    collator = MaskedLMCollator.of(tokenizer, rates=masking.rates, by=masking.masking, seed=launch.seed)
    objective = MaskedLM(model, collator, documents=cut.documents)

    # Text: documents → tokens → rows.
    text = open_text(corpora, cut, tokenizer, seed=launch.seed)
    counts = text.token_counts(len(tokenizer))
    if shape.model:
        initialize_from_text(model, np.where(special_tokens(tokenizer), 0, counts))
    run = Run(accelerator, groups, {"text": text.fingerprint, "tokenizer_hash": tokenizer_hash(tokenizer)})
    budget = Budget.of(
        length, rows=len(text.training), batch_rows=loop.train_batch_size, row_tokens=cut.sequence_length
    )
    run.tell(model=shape.describe(model), text=text)
    for advice in text.advice():
        run.say(advice)
    if launch.dry_run:
        run.tell_plan(budget, training_bytes(model, loop.division(accelerator).device_rows, cut.sequence_length))
        return 0
    if launch.profile:
        run.say(step_profile(run.rehearsal(objective, text.training, text.order, budget), accelerator.device))
        return 0
    if scaling.budget_advice:
        speed = run.speed(objective, text.training, text.order, budget, tokens_per_row=cut.sequence_length)
        run.say(budget_advice(speed, parameters=model.num_parameters(), minutes=length.max_minutes))
        return 0

    with uploads, run.writing():
        if (result := run.result()) is not None:
            run.say("\n".join(["already finished:", *result]))
            return 0
        if proofs := objective.prove(cut.sequence_length):
            run.tell(proved="; ".join(proofs))

        # Validation: fixed masks, and what counting alone would score on them.
        rates = (masking.eval_mlm_probability, masking.eval_mlm_probability)
        fixed = MaskedLMCollator.of(tokenizer, rates=rates, by=masking.masking, seed=VALIDATION_SEED)
        validation = validation_batches(text.validation, fixed, checking, accelerator)
        baselines = ngram_baselines(text.training, validation, masked_targets, counts, collator.special)

        def evaluate(module: nn.Module) -> dict[str, float]:
            return language_modeling_metrics(totals(module, objective, validation, accelerator), "mlm") | baselines

        outcome = run.train(
            objective,
            text.training,
            text.order,
            budget,
            tokens_per_row=cut.sequence_length,
            evaluate=evaluate,
            on_saved=uploads.on_saved(model, tokenizer, hub.hub_revisions),
        )
        if outcome.interruption:
            return outcome.exit_status

        # What it learned, the folder that others open, and the proof that they can.
        model = whole(model, accelerator)
        if accelerator.is_main_process:
            examples = [str(filling) for filling in fillings(model, tokenizer, text.validation, number=5)]
            publish(run, outcome, model, tokenizer, text, examples=examples)
    return 0


if __name__ == "__main__":
    with told_in_one_sentence():
        sys.exit(main())
