"""The smallest preset of each family, with the head it is made for: what tests over all architectures run on."""

import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from hfrep.models.presets import ModelSettings, build_model
from hfrep.models.shapes import PRESETS, fits

MICROS = [name for name in PRESETS if name.endswith("-micro")]
DECODERS = [name for name in MICROS if fits(name, AutoModelForCausalLM)]


def auto_class(name):
    return AutoModelForCausalLM if fits(name, AutoModelForCausalLM) else AutoModelForMaskedLM


def opinionated(model, factor=3):
    """`model` with larger matrices: of fresh ones all answers are as likely as each other, and nothing can be told."""
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.mul_(factor)
    return model


def micro(name, tokenizer, *, length=48, seed=0, **settings):
    torch.manual_seed(seed)
    return build_model(
        ModelSettings(model=name, **settings),
        tokenizer=tokenizer,
        sequence_length=length,
        auto_class=auto_class(name),
    )
