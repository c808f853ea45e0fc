"""Stored models by name: a folder, a Hub id, or an adapter at either, which is merged into its base."""

from pathlib import Path
from typing import Any

from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from hfrep.fetching import fetched
from hfrep.models.adapter_facts import is_adapter
from hfrep.models.merging import merged_folder
from hfrep.models.stored import load_folder, require_all


def model_folder(name: str) -> Path:
    """The folder on this machine that auto classes open for `name`.

    Raises:
        HfrepError: it is not there and cannot be fetched, or is an adapter that cannot be merged.
    """
    folder = fetched(name)
    return merged_folder(folder, name) if is_adapter(folder) else folder


def is_whole(name: str) -> bool:
    """Whether `name` is a model by itself, and no adapter, whose merged model is on this machine only.

    Raises:
        HfrepError: it is not there and cannot be fetched.
    """
    return not is_adapter(fetched(name))


def load_stored(name: str, auto_class: Any) -> PreTrainedModel:
    """The model called `name`, in float32.

    Raises:
        HfrepError: it is not there, cannot be read, or lacks weights outside its head.
    """
    model, missing = load_with_new_head(name, auto_class)
    require_all(name, model, [key for key in missing if key.startswith(f"{model.base_model_prefix}.")])
    return model


def load_with_new_head(name: str, auto_class: Any, **config: Any) -> tuple[PreTrainedModel, list[str]]:
    """The model called `name`, and the names of its weights that were drawn at random: see `load_folder`.

    Raises:
        HfrepError: it is not there, cannot be read, or lacks other weights.
    """
    return load_folder(model_folder(name), auto_class, name=name, **config)


def stored_config(name: str) -> PreTrainedConfig | None:
    """The config of the model called `name`; None where it cannot be read, of which opening the model says why.

    Raises:
        HfrepError: it is not there and cannot be fetched, or is an adapter that cannot be merged.
    """
    folder = model_folder(name)
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except Exception:  # what a config says may be wrong in any way
        return None


def stored_pad(name: str) -> int | None:
    """The pad token that the config of the model called `name` knows of."""
    pad: int | None = getattr(stored_config(name), "pad_token_id", None)
    return pad
