"""A model with fresh weights from a preset, a family and a size, or a config.json."""

import dataclasses
import difflib
import json
import os
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    CONFIG_MAPPING,
    AutoModelForMaskedLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from hfrep.errors import ConfigError
from hfrep.models.isolation import first_position
from hfrep.models.shapes import FAMILIES, PRESETS, Row, fits, fitting
from hfrep.models.sizing import choose_shape, parse_parameters
from hfrep.models.stored import reason
from hfrep.models.vocabulary import rows_for, special_token_ids


def fresh_model(
    name: str, parameters: str | None, tokenizer: PreTrainedTokenizerBase, auto_class: Any
) -> PreTrainedModel:
    """A model of the shape called `name`, weights drawn from torch's global generator, in float32.

    Raises:
        ConfigError: no such shape, one that is not for `auto_class`, a size out of range, or a file that says nonsense.
    """
    check_fits(name, auto_class)
    try:
        if name in FAMILIES:
            config = _sized(name, str(parameters), tokenizer, auto_class)
        else:
            named = name in PRESETS
            config = _ours(PRESETS[name], tokenizer) if named else _config(_read_config(name, auto_class), tokenizer)
        model: PreTrainedModel = auto_class.from_config(config, dtype=torch.float32)
    except (TypeError, ValueError, StrictDataclassError) as error:
        raise ConfigError(
            where=f"--model {name}",
            expected=f"a configuration that {auto_class.__name__} can build",
            found=reason(error),
            do="correct the file",
        ) from error
    if len(tokenizer) > config.vocab_size:
        raise ConfigError(
            where="the tokenizer",
            expected=f"at most the {config.vocab_size} tokens that {name} has",
            found=f"{len(tokenizer)} tokens",
            do="raise vocab_size in the file, or leave it out",
        )
    return model


def check_fits(name: str, auto_class: Any) -> None:
    """Refuse a preset or family that is not for `auto_class`; other names are left to whoever opens them."""
    if (name in PRESETS or name in FAMILIES) and not fits(name, auto_class):
        presets, families = fitting(auto_class)
        raise ConfigError(
            where=f"--model {name}",
            expected=f"a model for {auto_class.__name__}: {', '.join(presets)}",
            found="an encoder" if fits(name, AutoModelForMaskedLM) else "a decoder",
            do=f"give one of these, or one of {', '.join(families)} with --parameters",
        )


def _sized(family: str, parameters: str, tokenizer: PreTrainedTokenizerBase, auto_class: Any) -> PreTrainedConfig:
    """The configuration whose model has about `parameters`, counted on models that hold no memory."""
    make, heads_step = FAMILIES[family].row, FAMILIES[family].heads_step

    def count(layers: int, width: int, heads: int) -> int:
        with torch.device("meta"):
            model = auto_class.from_config(_ours(make(layers, width, heads), tokenizer))
        return sum(parameter.numel() for parameter in model.parameters())

    shape = choose_shape(family, parse_parameters(parameters), count, heads_step=heads_step)
    return _ours(make(shape.layers, shape.width, shape.heads), tokenizer)


def _ours(row: Row, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    """As `_config`, with positions for as many tokens as `row` says, wherever they begin to count."""
    config = _config(row, tokenizer)
    config.max_position_embeddings += first_position(config)
    return config


def _config(row: Row, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    """The configuration that `row` says, with the tokenizer's special tokens, and its size where `row` says none."""
    config_class = CONFIG_MAPPING[row["model_type"]]
    known = {field.name for field in dataclasses.fields(config_class)}
    ids = special_token_ids(tokenizer, row["model_type"])
    given = {name: value for name, value in row.items() if name != "model_type"}
    given |= {name: value for name, value in ids.items() if name in known}
    return config_class(**({"vocab_size": rows_for(tokenizer)} | given))


def _read_config(name: str, auto_class: Any) -> Row:
    path = Path(name) / "config.json" if Path(name).is_dir() else Path(name)
    if not path.is_file():
        if path.suffix == ".json" or os.sep in name:
            raise ConfigError(where="--model", expected="a config.json", found=f"no file {path}", do="correct the path")
        nearest = difflib.get_close_matches(name, [*PRESETS, *FAMILIES], n=1, cutoff=0.0)[0]
        raise ConfigError(
            where="--model",
            expected=f"a preset ({', '.join(fitting(auto_class)[0])}) or the path of a config.json",
            found=repr(name),
            do=f"did you mean {nearest}? (weights to go on from are --model_name_or_path)",
        )
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(where=str(path), expected="JSON", found=reason(error), do="correct the file") from None
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
