"""Weights to go on from: a folder or a Hub id, opened by an auto class; each way to fail is one sentence."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedModel

from hfrep.errors import ConfigError
from hfrep.network import hub_reachable

REASON_LENGTH = 200  # characters of a library's message that go into our sentence


def load_stored(name: str, auto_class: Any) -> PreTrainedModel:
    """The model called `name`, in float32.

    Raises:
        ConfigError: it is not there, cannot be read, or lacks weights outside its head.
    """
    model, missing = load_with_new_head(name, auto_class)
    _require_all(name, model, [key for key in missing if key.startswith(f"{model.base_model_prefix}.")])
    return model


def load_with_new_head(name: str, auto_class: Any, **config: Any) -> tuple[PreTrainedModel, list[str]]:
    """The model called `name`, in float32, and the names of its weights that are not stored and were drawn at random.

    Such may be a head's, or a pooler's, which pretraining has no use for.

    Args:
        config: what its configuration is to say instead.

    Raises:
        ConfigError: it is not there, cannot be read, or lacks other weights.
    """
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
            **config,
        )
    except OSError as error:
        if local and not in_folder:
            raise _no_weights(
                "a folder, or a Hub id that can be fetched or is in the cache",
                f"{name!r}, which is no folder here and not in the cache, and the Hub out of reach",
                "correct the path, or fetch the model while there is a network",
            ) from error
        raise _no_weights("a model that can be read", reason(error), "check the name and the files") from error
    except (ValueError, RuntimeError, KeyError, SafetensorError, StrictDataclassError) as error:
        raise _no_weights(f"weights that {auto_class.__name__} opens", reason(error), "give others") from error
    missing = sorted(info["missing_keys"])
    prefix = "" if model.base_model is model else f"{model.base_model_prefix}."
    body = [key for key in missing if key.startswith(prefix) and ".pooler." not in f".{key}"]
    _require_all(name, model, [*body, *(key for key, *_ in info["mismatched_keys"])])
    return model, missing


def _require_all(name: str, model: PreTrainedModel, unfit: list[str]) -> None:
    if unfit:
        raise _no_weights(
            f"weights for all of {type(model).__name__} but its head",
            f"{len(unfit)} tensors missing or of another shape in {name} ({min(unfit)} …)",
            "give a model of this architecture and shape",
        )


def stored_pad(name: str) -> int | None:
    """The pad token that the config of the model called `name` knows of."""
    local = Path(name).is_dir() or not hub_reachable()
    pad: int | None = getattr(AutoConfig.from_pretrained(name, local_files_only=local), "pad_token_id", None)
    return pad


def reason(error: Exception) -> str:
    """The first sentence of a library's message."""
    first_sentence = " ".join(str(error).split()).split(". ")[0].rstrip(".")
    return first_sentence[:REASON_LENGTH] or type(error).__name__


def _check_folder(folder: Path) -> None:
    file = folder / "config.json"
    if not file.is_file():
        inside = [path.parent for path in sorted(folder.glob("*/config.json"))]
        do = f"give {inside[0]}" if inside else "give the folder that save_pretrained wrote"
        raise _no_weights("a folder with a config.json", f"none in {folder}", do)
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(where=str(file), expected="JSON", found=reason(error), do="restore the file") from None


def _no_weights(expected: str, found: str, do: str) -> ConfigError:
    return ConfigError(where="--model_name_or_path", expected=expected, found=found, do=do)
