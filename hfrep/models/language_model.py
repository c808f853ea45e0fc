"""A stored language model, masked or causal as it says itself."""

from typing import Any

from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from hfrep.errors import ConfigError
from hfrep.models.isolation import longest_document
from hfrep.models.named import stored_config
from hfrep.models.presets import ModelSettings, build_model

MASKED, CAUSAL = set(MODEL_FOR_MASKED_LM_MAPPING_NAMES.values()), set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())


def open_language_model(name: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """The model in a folder or on the Hub, opened as what its config's ``architectures`` say, in float32.

    Raises:
        ConfigError: it is not there, not readable, or no masked or causal language model; or `tokenizer` has more
            tokens than it.
    """
    config = stored_config(name)
    # Without one any class fails, and `build_model` says why in one sentence.
    auto_class = AutoModelForMaskedLM if config is None else _auto_class(name, config)
    settings = ModelSettings(model_name_or_path=name)
    return build_model(settings, tokenizer=tokenizer, sequence_length=1, auto_class=auto_class)


def open_causal_model(name: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """The same, where nothing but a causal language model will do.

    Raises:
        ConfigError: as above, or it is a masked one.
    """
    model = open_language_model(name, tokenizer)
    if is_masked(model):
        raise ConfigError(
            where=f"--model_name_or_path {name}",
            expected="a causal language model",
            found=f"{type(model).__name__}, which fills in masks",
            do="give a model such as recipes/clm.py makes",
        )
    return model


def is_masked(model: PreTrainedModel) -> bool:
    """Whether `model` predicts masked tokens from both sides, not each token from those before it."""
    return type(model).__name__ in MASKED


def context_length(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens, special ones included, that the model was made for: its positions, or fewer where the tokenizer says so.

    A tokenizer's ``model_max_length`` is the length that a model of this package was trained on.
    """
    room, told = longest_document(model.config), int(tokenizer.model_max_length)
    return told if room is None else min(room, told)


def _auto_class(name: str, config: PreTrainedConfig) -> Any:
    architectures = set(config.architectures or ())
    if architectures & MASKED and not config.is_encoder_decoder:
        return AutoModelForMaskedLM
    if architectures & CAUSAL and not config.is_encoder_decoder:
        return AutoModelForCausalLM
    # Of weights that were saved without their head, a class opens the rest and draws the head at random.
    raise ConfigError(
        where=f"--model_name_or_path {name}",
        expected="a masked or a causal language model, saved with its head",
        found=", ".join(sorted(architectures)) or "a config.json that names no architectures",
        do="give a model such as BertForMaskedLM or GPT2LMHeadModel",
    )
