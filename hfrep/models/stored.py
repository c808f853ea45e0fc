"""Weights in a folder, opened by an auto class; each way to fail is one sentence."""

import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import PreTrainedModel

from hfrep.errors import ConfigError
from hfrep.fetching import WHERE

REASON_LENGTH = 200  # characters of a library's message that go into our sentence


def load_folder(
    folder: Path, auto_class: Any, *, name: str, where: str = WHERE, **config: Any
) -> tuple[PreTrainedModel, list[str]]:
    """The model in `folder`, in float32, and the names of its weights that are not stored and were drawn at random.

    Such may be a head's, or a pooler's, which pretraining has no use for.

    Args:
        name: what the user called the folder.
        where: how an error calls the setting.
        config: what its configuration is to say instead.

    Raises:
        ConfigError: there is none, it cannot be read, or lacks other weights.
    """
    _check_folder(folder, name, where)
    try:
        model, info = auto_class.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, in our words
            **config,
        )
    except OSError as error:
        raise _no_weights(where, "a model that can be read", reason(error), "check the name and the files") from error
    except (ValueError, RuntimeError, KeyError, SafetensorError, StrictDataclassError) as error:
        raise _no_weights(where, f"weights that {auto_class.__name__} opens", reason(error), "give others") from error
    missing = sorted(info["missing_keys"])
    prefix = "" if model.base_model is model else f"{model.base_model_prefix}."
    body = [key for key in missing if key.startswith(prefix) and ".pooler." not in f".{key}"]
    require_all(name, model, [*body, *(key for key, *_ in info["mismatched_keys"])], where)
    return model, missing


def require_all(name: str, model: PreTrainedModel, unfit: list[str], where: str = WHERE) -> None:
    """Refuse a model that lacks weights, `unfit`, which it should have.

    Raises:
        ConfigError: there is one.
    """
    if unfit:
        raise _no_weights(
            where,
            f"weights for all of {type(model).__name__} but its head",
            f"{len(unfit)} tensors missing or of another shape in {name} ({min(unfit)} …)",
            "give a model of this architecture and shape",
        )


def reason(error: Exception) -> str:
    """The first sentence of a library's message."""
    first_sentence = " ".join(str(error).split()).split(". ")[0].rstrip(".")
    return first_sentence[:REASON_LENGTH] or type(error).__name__


def _check_folder(folder: Path, name: str, where: str) -> None:
    file = folder / "config.json"
    if not file.is_file():
        inside = [path.parent for path in sorted(folder.glob("*/config.json"))]
        do = f"give {inside[0]}" if inside else "give the folder that save_pretrained wrote"
        raise _no_weights(where, "a folder with a config.json", f"none in {name}", do)
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(where=str(file), expected="JSON", found=reason(error), do="restore the file") from None


def _no_weights(where: str, expected: str, found: str, do: str) -> ConfigError:
    return ConfigError(where=where, expected=expected, found=found, do=do)
