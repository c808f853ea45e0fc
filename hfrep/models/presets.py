"""Named shapes of stock architectures, and the one place where a model to train comes from.

Shapes are the published ones where there are such: BERT base and large (Devlin et al. 2019), the miniatures tiny to
medium (Turc et al. 2019, "Well-read students learn better"), RoBERTa base (Liu et al. 2019), ModernBERT base (Warner et
al. 2024); ModernBERT mini and small have the shapes of Ettin 17M and 32M (Weller et al. 2025), tiny is ours. The
``micro`` sizes are for tests. What a row leaves out is the default of the configuration class, dropout included.

The vocabulary and the ids of special tokens come from the tokenizer. The exported config keeps its dropout; only the
live modules get `ModelSettings.dropout`.
"""

import dataclasses
import difflib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import (
    CONFIG_MAPPING,
    AutoModelForMaskedLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from hfrep.errors import ConfigError
from hfrep.models.isolation import first_position
from hfrep.network import hub_reachable
from hfrep.settings import setting

Row = dict[str, Any]

VOCABULARY_STEP = 64  # embedding rows; matrix kernels like multiples
REASON_LENGTH = 200  # characters of a library's message that go into our sentence
SPECIAL_TOKENS = ("pad", "unk", "bos", "eos", "cls", "sep", "mask")


def _bert(layers: int, width: int, heads: int) -> Row:
    return {
        "model_type": "bert",
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "max_position_embeddings": 512,
    }


def _roberta(layers: int, width: int, heads: int) -> Row:
    return _bert(layers, width, heads) | {"model_type": "roberta", "type_vocab_size": 1, "layer_norm_eps": 1e-5}


def _modernbert(layers: int, width: int, heads: int, window: int = 128) -> Row:
    return {
        "model_type": "modernbert",
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": 3 * width // 2,
        "local_attention": window,
        "max_position_embeddings": 8192,
        "classifier_pooling": "mean",
    }


# name → arguments of the configuration class; `max_position_embeddings` counts the tokens a document may have.
PRESETS: dict[str, Row] = {
    "bert-micro": _bert(2, 64, 2),
    "bert-tiny": _bert(2, 128, 2),
    "bert-mini": _bert(4, 256, 4),
    "bert-small": _bert(4, 512, 8),
    "bert-medium": _bert(8, 512, 8),
    "bert-base": _bert(12, 768, 12),
    "bert-large": _bert(24, 1024, 16),
    "roberta-micro": _roberta(2, 64, 2),
    "roberta-base": _roberta(12, 768, 12),
    "modernbert-micro": _modernbert(2, 64, 2, window=16),
    "modernbert-tiny": _modernbert(4, 128, 2),
    "modernbert-mini": _modernbert(7, 256, 4),
    "modernbert-small": _modernbert(10, 384, 6),
    "modernbert-base": _modernbert(22, 768, 12),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSettings:
    model: str | None = setting(None, f"fresh weights: a preset ({', '.join(PRESETS)}) or the path of a config.json")
    model_name_or_path: str | None = setting(None, "weights to go on from: a folder or a Hub id")
    dropout: float = setting(0.0, "share of activations dropped while training; the saved config keeps its own value")
    gradient_checkpointing: bool = setting(
        False, "recompute each layer's activations in the backward pass: less memory, more time", kind="operation"
    )

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ConfigError(
                where="--dropout", expected="a share in [0, 1)", found=f"{self.dropout}", do="0 suits pretraining"
            )

    def or_default(self, preset: str) -> "ModelSettings":
        """These settings, or the fresh `preset` where they name no model."""
        named = self.model or self.model_name_or_path
        return self if named else dataclasses.replace(self, model=preset)

    def describe(self, model: PreTrainedModel) -> str:
        """Name, class and size of the `model` made with these settings."""
        name = self.model or str(self.model_name_or_path)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        return f"{name}: {type(model).__name__}, {parameters:,} parameters, vocabulary {model.config.vocab_size:,}"


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
        ConfigError: no or two sources, a source that is not there or not readable, or a tokenizer or sequence length
            that the model has no room for.
    """
    if (settings.model is None) == (settings.model_name_or_path is None):
        both = settings.model is not None
        raise ConfigError(
            where="the model",
            expected="exactly one of --model and --model_name_or_path",
            found=f"both ({settings.model} and {settings.model_name_or_path})" if both else "neither",
            do="give --model for fresh weights, or --model_name_or_path for weights to go on from",
        )
    with _quiet():
        if settings.model is not None:
            model = _fresh(settings.model, tokenizer, auto_class)
        else:
            model = _stored(str(settings.model_name_or_path), auto_class)
    name = settings.model or str(settings.model_name_or_path)
    _check_room(name, model.config, tokenizer, sequence_length)
    set_dropout(model, settings.dropout)
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


def _fresh(name: str, tokenizer: PreTrainedTokenizerBase, auto_class: Any) -> PreTrainedModel:
    arguments = dict(PRESETS[name]) if name in PRESETS else _read_config(name)
    model_type = arguments.pop("model_type")
    config_class = CONFIG_MAPPING[model_type]
    known = {field.name for field in dataclasses.fields(config_class)}
    ids = {f"{token}_token_id": getattr(tokenizer, f"{token}_token_id") for token in SPECIAL_TOKENS}
    arguments |= {field: value for field, value in ids.items() if field in known}
    arguments.setdefault("vocab_size", -(-len(tokenizer) // VOCABULARY_STEP) * VOCABULARY_STEP)
    try:
        config = config_class(**arguments)
        if name in PRESETS:
            config.max_position_embeddings += first_position(config)
        return auto_class.from_config(config, dtype=torch.float32)
    except (TypeError, ValueError, StrictDataclassError) as error:
        raise ConfigError(
            where=f"--model {name}",
            expected=f"a configuration that {auto_class.__name__} can build",
            found=_reason(error),
            do="correct the file",
        ) from error


def _read_config(name: str) -> dict[str, Any]:
    path = Path(name) / "config.json" if Path(name).is_dir() else Path(name)
    if not path.is_file():
        if path.suffix == ".json" or os.sep in name:
            raise ConfigError(where="--model", expected="a config.json", found=f"no file {path}", do="correct the path")
        nearest = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.0)[0]
        raise ConfigError(
            where="--model",
            expected=f"a preset ({', '.join(PRESETS)}) or the path of a config.json",
            found=repr(name),
            do=f"did you mean {nearest}? (weights to go on from are --model_name_or_path)",
        )
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(where=str(path), expected="JSON", found=_reason(error), do="correct the file") from None
    model_type = content.get("model_type") if isinstance(content, dict) else None
    if model_type not in CONFIG_MAPPING:
        found = "none" if model_type is None else repr(model_type)
        raise ConfigError(
            where=str(path),
            expected="a `model_type` that transformers has a class for",
            found=found,
            do="take the config.json of a stock model as an example",
        )
    return content


def _stored(name: str, auto_class: Any) -> PreTrainedModel:
    in_folder = Path(name).is_dir()
    if in_folder:
        _check_folder(Path(name))
    elif not re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", name):
        raise _no_weights("a folder with a model", f"no folder {name}", "correct the path")
    local = in_folder or not hub_reachable()
    try:
        model, info = auto_class.from_pretrained(
            name,
            dtype=torch.float32,
            local_files_only=local,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, in our words
        )
    except OSError as error:
        if local and not in_folder:
            raise _no_weights(
                "a folder, or a Hub id that can be fetched or is in the cache",
                f"{name!r}, which is no folder here and not in the cache, and the Hub out of reach",
                "correct the path, or fetch the model while there is a network",
            ) from error
        raise _no_weights("a model that can be read", _reason(error), "check the name and the files") from error
    except (ValueError, RuntimeError, KeyError, SafetensorError, StrictDataclassError) as error:
        raise _no_weights(f"weights that {auto_class.__name__} opens", _reason(error), "give others") from error
    missing = [key for key in info["missing_keys"] if key.startswith(f"{model.base_model_prefix}.")]
    unfit = sorted([*missing, *(key for key, *_ in info["mismatched_keys"])])
    if unfit:
        raise _no_weights(
            f"weights for all of {type(model).__name__} but its head",
            f"{len(unfit)} tensors missing or of another shape in {name} ({unfit[0]} …)",
            "give a model of this architecture and shape",
        )
    return model


def _check_folder(folder: Path) -> None:
    file = folder / "config.json"
    if not file.is_file():
        inside = [path.parent for path in sorted(folder.glob("*/config.json"))]
        do = f"give {inside[0]}" if inside else "give the folder that save_pretrained wrote"
        raise _no_weights("a folder with a config.json", f"none in {folder}", do)
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(where=str(file), expected="JSON", found=_reason(error), do="restore the file") from None


def _check_room(name: str, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, sequence_length: int) -> None:
    if len(tokenizer) > config.vocab_size:
        raise ConfigError(
            where="the tokenizer",
            expected=f"at most the {config.vocab_size} tokens that {name} has",
            found=f"{len(tokenizer)} tokens",
            do="give the tokenizer the model was made with",
        )
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and sequence_length > positions - first_position(config):
        raise ConfigError(
            where="--sequence_length",
            expected=f"at most the {positions - first_position(config)} positions that {name} has",
            found=str(sequence_length),
            do="shorten it, or give a config.json with a larger max_position_embeddings",
        )


def _no_weights(expected: str, found: str, do: str) -> ConfigError:
    return ConfigError(where="--model_name_or_path", expected=expected, found=found, do=do)


def _reason(error: Exception) -> str:
    first_sentence = " ".join(str(error).split()).split(". ")[0].rstrip(".")
    return first_sentence[:REASON_LENGTH] or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's remarks and progress bars from the user: what matters in them is checked here."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
