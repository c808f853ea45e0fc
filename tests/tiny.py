"""A whole training run that takes a second: what the invariants and the two-process tests compare."""

import atexit
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM

from hfrep.data.blocks import build_blocks
from hfrep.data.corpus import Corpus
from hfrep.data.decoder_tokenizer import decoder_tokenizer
from hfrep.data.order import order_of
from hfrep.models.presets import ModelSettings, build_model
from hfrep.objectives.clm import CausalLM, CausalLMCollator
from hfrep.objectives.masking import MaskedLMCollator
from hfrep.objectives.mlm import MaskedLM
from hfrep.training.budget import Budget
from hfrep.training.checkpoint import CheckpointSettings
from hfrep.training.launch import leave_process_group
from hfrep.training.loop import LoopSettings
from hfrep.training.optim import OptimizerSettings
from hfrep.training.record import RecordSettings
from hfrep.training.run import Run

LENGTH = 32
atexit.register(leave_process_group)


class Killed(BaseException):
    """Stands for a SIGKILL: nothing after it runs."""


def blocks(documents, tokenizer, cache, name="tiny", *, causal=False):
    """Rows of `documents`; `causal` ones are for a decoder, with `tokenizer` made one for it."""
    fingerprint = hashlib.sha256("\n".join(documents).encode()).hexdigest()
    corpus = Corpus(name=name, fingerprint=fingerprint, documents=lambda: iter(documents))
    tokenizer = decoder_tokenizer(tokenizer) if causal else tokenizer
    return build_blocks(corpus, tokenizer, LENGTH, Path(cache), causal=causal)


def masked_lm(tokenizer, *, preset="bert-micro", dropout=0.0, seed=0):
    torch.manual_seed(seed)
    shape = ModelSettings(model=preset, dropout=dropout)
    model = build_model(shape, tokenizer=tokenizer, sequence_length=LENGTH)
    return MaskedLM(model, MaskedLMCollator.of(tokenizer, rates=(0.15, 0.15), by="token", seed=seed))


def causal_lm(tokenizer, *, preset="gpt2-micro", dropout=0.0, seed=0):
    torch.manual_seed(seed)
    model = build_model(
        ModelSettings(model=preset, dropout=dropout),
        tokenizer=decoder_tokenizer(tokenizer),
        sequence_length=LENGTH,
        auto_class=AutoModelForCausalLM,
    )
    return CausalLM(model, CausalLMCollator())


OBJECTIVES = {"mlm": masked_lm, "clm": causal_lm}


def train(folder, rows, tokenizer, *, objective="mlm", steps=8, kill_at=None, evaluate=None, weights=None, **changes):
    """Train `steps` steps in `folder`, resuming where it stands; `changes` go to whichever settings know them.

    Returns the outcome, the losses step by step, and a hash of the weights.
    """
    made = {name: changes.pop(name) for name in ("dropout", "preset") if name in changes}
    given = {"output_dir": str(folder), "logging_steps": 1, "save_steps": 1000, "save_total_limit": 100} | changes
    groups = [
        kind(**{name: value for name, value in given.items() if name in kind.__dataclass_fields__})
        for kind in (LoopSettings, OptimizerSettings, CheckpointSettings, RecordSettings)
    ]
    groups[0] = replace(groups[0], train_batch_size=given.get("train_batch_size", 32))
    trained = OBJECTIVES[objective](tokenizer, **made)
    if weights is not None:
        trained.load_state_dict(weights)
    run = Run(Accelerator(cpu=True, step_scheduler_with_optimizer=False), groups, {"rows": rows.fingerprint})

    def on_saved(checkpoint):
        if checkpoint.name == f"step-{kill_at}":
            raise Killed

    with run.writing():
        outcome = run.train(
            trained,
            rows,
            order_of([len(rows)], None, seed=0),
            Budget(steps, None),
            tokens_per_row=LENGTH,
            evaluate=evaluate or (lambda module: {}),
            on_saved=[on_saved],
        )
    return outcome, losses(folder), weights_hash(trained)


def losses(folder):
    records = map(json.loads, (Path(folder) / "metrics.jsonl").read_text().splitlines())
    return [record["loss"] for record in records if "loss" in record]


def weights_hash(module):
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        digest.update(name.encode() + full.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()
