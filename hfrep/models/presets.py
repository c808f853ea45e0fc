"""The one place where a model to train comes from: a named shape, a size, a config.json, or stored weights.

The vocabulary and the ids of special tokens come from the tokenizer. The exported config keeps its dropout; only the
live modules get `ModelSettings.dropout`.
"""

import dataclasses
from typing import ClassVar

from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_layers import GradientCheckpointingLayer

from hfrep.errors import ConfigError
from hfrep.models.fresh import check_fits, fresh_model
from hfrep.models.isolation import admit_row_masks, is_causal, longest_document
from hfrep.models.named import load_stored
from hfrep.models.quiet import quiet_library
from hfrep.models.shapes import FAMILIES, PRESETS, example, fitting
from hfrep.models.sizing import parse_parameters
from hfrep.models.vocabulary import fit_vocabulary
from hfrep.settings import setting

__all__ = [
    "PRESETS",
    "CausalModelSettings",
    "MaskedModelSettings",
    "ModelSettings",
    "build_model",
    "set_dropout",
]


def _model_help(auto_class: type | None = None) -> str:
    presets, families = fitting(auto_class)
    return (
        f"fresh weights: a preset ({', '.join(presets)}), the path of a config.json, or with --parameters a family "
        f"({', '.join(families)})"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Where the model comes from. A subclass that knows the head, `auto_class`, takes and lists what fits it only."""

    auto_class: ClassVar[type | None] = None

    model: str | None = setting(None, _model_help())
    parameters: str | None = setting(
        None,
        "size of a fresh family (10M, 1.5B, 8e6), embeddings counted, once where input and output share them; width, "
        "depth and heads follow: heads of 64, about 64 times as wide as deep",
    )
    model_name_or_path: str | None = setting(None, "weights to go on from: a folder or a Hub id")
    resize_embeddings: bool = setting(
        False, "go on from weights made with a tokenizer of another size: rows are kept by id, added or cut"
    )
    dropout: float = setting(0.0, "share of activations dropped while training; the saved config keeps its own value")
    gradient_checkpointing: bool = setting(
        False,
        "recompute activations in the backward pass, of all layers but the last: less memory, more time",
        kind="operation",
    )

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ConfigError(
                where="--dropout", expected="a share in [0, 1)", found=f"{self.dropout}", do="0 suits pretraining"
            )
        if self.resize_embeddings and self.model is not None:
            raise ConfigError(
                where="--resize_embeddings",
                expected="weights to go on from (--model_name_or_path)",
                found=f"--model {self.model}, whose fresh embeddings fit any tokenizer",
                do="leave it out",
            )
        if self.model is not None:
            check_fits(self.model, self.auto_class)
        if self.model in FAMILIES or self.parameters is not None:
            self._check_size()

    def _check_size(self) -> None:
        if self.parameters is None:
            raise ConfigError(
                where=f"--model {self.model}",
                expected="a size with the name of a family",
                found="no --parameters",
                do=f"add --parameters 10M, or give a preset such as {example(str(self.model))}",
            )
        parse_parameters(self.parameters)
        source = self.model or self.model_name_or_path
        if source is not None and source not in FAMILIES:
            raise ConfigError(
                where="--parameters",
                expected=f"a family as --model ({', '.join(fitting(self.auto_class)[1])})",
                found=f"{source}, which has a size of its own",
                do="name a family, or leave --parameters out",
            )

    def or_default(self, preset: str) -> "ModelSettings":
        """These settings, or the fresh `preset` where they name no model: its family, where they name a size."""
        if self.model or self.model_name_or_path:
            return self
        return dataclasses.replace(self, model=preset.rpartition("-")[0] if self.parameters else preset)

    @property
    def name(self) -> str:
        """Of the shape or the weights, as the user gave it."""
        return self.model or str(self.model_name_or_path)

    def trained_length(self, tokenizer: PreTrainedTokenizerBase, sequence_length: int) -> int:
        """Tokens of the longest text the model will be made for: no position behind it will have been trained."""
        return sequence_length if self.model else max(tokenizer.model_max_length, sequence_length)

    def describe(self, model: PreTrainedModel) -> str:
        """Name, class and size of the `model` made with these settings, and the shape where a size was given."""
        name, config = self.name, model.config
        parameters = sum(parameter.numel() for parameter in model.parameters())
        shape = ""
        if self.parameters is not None:
            layers, width, heads = config.num_hidden_layers, config.hidden_size, config.num_attention_heads
            name, shape = f"{name} of {self.parameters}", f"layers {layers}, width {width}, heads {heads}, "
        return f"{name}: {type(model).__name__}, {shape}{parameters:,} parameters, vocabulary {config.vocab_size:,}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedModelSettings(ModelSettings):
    """Encoders only."""

    auto_class = AutoModelForMaskedLM
    model: str | None = setting(None, _model_help(AutoModelForMaskedLM))


@dataclasses.dataclass(frozen=True, kw_only=True)
class CausalModelSettings(ModelSettings):
    """Decoders only."""

    auto_class = AutoModelForCausalLM
    model: str | None = setting(None, _model_help(AutoModelForCausalLM))


def build_model(
    settings: ModelSettings,
    *,
    tokenizer: PreTrainedTokenizerBase,
    sequence_length: int,
    auto_class: type = AutoModelForMaskedLM,
) -> PreTrainedModel:
    """A stock model in float32, fresh or with stored weights, with dropout as `settings` says.

    Fresh weights are drawn from torch's global generator: seed it before.

    Args:
        settings: names exactly one of a shape and weights.
        tokenizer: gives the vocabulary and the ids of the special tokens.
        sequence_length: tokens per row, all of which may be one document.
        auto_class: which head the model gets.

    Raises:
        ConfigError: no or two sources, a source that is not there, not readable or not for `auto_class`, or a tokenizer
            or sequence length that the model has no room for.
    """
    if (settings.model is None) == (settings.model_name_or_path is None):
        both = settings.model is not None
        raise ConfigError(
            where="the model",
            expected="exactly one of --model and --model_name_or_path",
            found=f"both ({settings.model} and {settings.model_name_or_path})" if both else "neither",
            do="give --model for fresh weights, or --model_name_or_path for weights to go on from",
        )
    name = settings.name
    with quiet_library():
        if settings.model is not None:
            model = fresh_model(name, settings.parameters, tokenizer, auto_class)
        else:
            model = load_stored(name, auto_class)
            fit_vocabulary(model, tokenizer, name=name, resize=settings.resize_embeddings)
    _check_causal(name, model.config, auto_class)
    _check_length(name, model.config, sequence_length)
    set_dropout(model, settings.dropout)
    admit_row_masks(model)
    if settings.gradient_checkpointing:
        _checkpoint_gradients(model)
    return model


def set_dropout(model: nn.Module, share: float) -> None:
    """Let every dropout of the live `model` drop `share`; its config is left as it is.

    Classes keep the share in `nn.Dropout` modules, or as a number that they hand to the attention kernel. A dropout
    that a class leaves out because its config says 0 (``out_drop`` of ModernBERT) stays out.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = share
        for name, value in vars(module).items():
            if "dropout" in name and isinstance(value, int | float) and not isinstance(value, bool):
                setattr(module, name, share)


def _checkpoint_gradients(model: PreTrainedModel) -> None:
    if not model.supports_gradient_checkpointing:
        raise ConfigError(
            where="--gradient_checkpointing",
            expected="an architecture that can recompute its activations",
            found=type(model).__name__,
            do="leave it out and lower --per_device_train_batch_size instead",
        )
    model.gradient_checkpointing_enable({"use_reentrant": False})
    # The last layer's backward pass comes first, when all of its activations are still there.
    for part in model.modules():
        if isinstance(part, nn.ModuleList) and len(part) and isinstance(part[-1], GradientCheckpointingLayer):
            part[-1].gradient_checkpointing = False


def _check_causal(name: str, config: PreTrainedConfig, auto_class: type) -> None:
    if auto_class is AutoModelForCausalLM and not is_causal(config.model_type, config):
        raise ConfigError(
            where="the model",
            expected="one that sees the past only, since a causal language model is trained",
            found=f"{name}, an encoder ({config.model_type})",
            do=f"take a decoder such as {fitting(auto_class)[0][0]}, or set is_decoder in its config.json",
        )


def _check_length(name: str, config: PreTrainedConfig, sequence_length: int) -> None:
    room = longest_document(config)
    if room is not None and sequence_length > room:
        raise ConfigError(
            where="--sequence_length",
            expected=f"at most the {room} positions that {name} has",
            found=str(sequence_length),
            do="shorten it, or give a config.json with a larger max_position_embeddings",
        )
