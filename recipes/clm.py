"""Pretrain a causal language model from raw text.

    accelerate launch recipes/clm.py
    accelerate launch recipes/clm.py --corpus my_texts/ --model llama --parameters 20M --max_minutes 60 \
        --output_dir runs/mine

Without arguments it trains a small GPT on the prose of the installed Python packages for four minutes, needs no
network, and leaves in runs/clm/model what `AutoModelForCausalLM` opens. The same command again goes on where it was
stopped.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import nn
from transformers import AutoModelForCausalLM

from hfrep.data.blocks import BlockSettings
from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.data.text import TextSettings, open_text, settled
from hfrep.data.tokenizer import load_tokenizer, tokenizer_hash
from hfrep.errors import told_in_one_sentence
from hfrep.evaluation.generation import GenerationSettings, continuations
from hfrep.evaluation.language_modeling import (
    ValidationSettings,
    bits_per_byte,
    language_modeling_metrics,
    totals,
    validation_batches,
)
from hfrep.evaluation.ngrams import next_tokens, ngram_baselines
from hfrep.export import whole
from hfrep.hub.settings import HubSettings
from hfrep.hub.uploads import Uploads
from hfrep.models.initialization import initialize_from_text
from hfrep.models.memory import training_bytes
from hfrep.models.presets import CausalModelSettings, build_model
from hfrep.models.scaling import ScalingSettings, budget_advice
from hfrep.objectives.clm import CausalLM, CausalLMCollator
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

TOKENIZER = Path(__file__).parent.parent / "tokenizers" / "bpe-8k"
GROUPS = (
    TextSettings,
    BlockSettings,
    CausalModelSettings,
    LoopSettings,
    BudgetSettings,
    ScalingSettings,
    OptimizerSettings,
    ValidationSettings,
    GenerationSettings,
    CheckpointSettings,
    RecordSettings,
    HubSettings,
    LaunchSettings,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the recipe; returns the status to exit with."""
    defaults = {"output_dir": "runs/clm", "embedding_learning_rate": 4e-3}
    groups = parse(*GROUPS, argv=argv, description=__doc__, defaults=defaults)
    corpora, cut, shape, loop, length, scaling, _, checking, writing, checkpoint, _, hub, launch = groups
    shape, length = shape.or_default("gpt2-mini"), length.or_default(max_minutes=4)
    corpora, cut = settled(corpora, cut, model=shape.model_name_or_path, tokenizer=str(TOKENIZER), causal=True)
    groups = resolved(groups, shape, length, corpora, cut)
    accelerator = start(launch, checkpoint.output_dir)
    uploads = Uploads.open(hub, checkpoint.output_dir, accelerator)

    # Model and objective, before the text, which may take long to prepare.
    tokenizer = decoder_tokenizer(load_tokenizer(cut.tokenizer))
    tokenizer.model_max_length = shape.trained_length(tokenizer, cut.sequence_length)
    model = build_model(
        shape, tokenizer=tokenizer, sequence_length=cut.sequence_length, auto_class=AutoModelForCausalLM
    )
    objective = CausalLM(model, CausalLMCollator(), documents=cut.documents)

    # Text: documents → tokens → rows.
    text = open_text(corpora, cut, tokenizer, seed=launch.seed, causal=True)
    counts = text.token_counts(len(tokenizer))
    if shape.model:
        initialize_from_text(model, counts)
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
        run.tell(proved="; ".join(objective.prove(cut.sequence_length)))

        # Validation: the same rows every time, and what counting alone would score on them.
        validation = validation_batches(text.validation, objective.collator(), checking, accelerator)
        baselines = ngram_baselines(text.training, validation, next_tokens, counts, np.zeros(len(counts), bool))

        def evaluate(module: nn.Module) -> dict[str, float]:
            metrics = language_modeling_metrics(totals(module, objective, validation, accelerator), "clm")
            facts = [part.facts for part in text.validation.parts]
            return metrics | {"eval_bits_per_byte": bits_per_byte(metrics["eval_loss"], facts)} | baselines

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

        # What it writes, the folder that others open, and the proof that they can.
        model = whole(model, accelerator)
        if accelerator.is_main_process:
            samples = continuations(model, tokenizer, text.validation, number=3, settings=writing)
            publish(run, outcome, model, tokenizer, text, examples=[str(sample) for sample in samples])
    return 0


if __name__ == "__main__":
    with told_in_one_sentence():
        sys.exit(main())
