"""Which method of peft an adapter is, read from a file; and which methods are refused for which models.

A file is JSON with the fields of a peft configuration, as an ``adapter_config.json`` has them::

    {"peft_type": "LORA", "r": 8, "use_dora": true}
    {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 10}
"""

import dataclasses
import difflib
import json
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from peft import PeftConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from transformers import PreTrainedModel

from hfrep.errors import ConfigError
from hfrep.models.adapter_files import method_of
from hfrep.models.isolation import is_causal
from hfrep.models.stored import reason

CLASSES: dict[str, type[PeftConfig]] = {str(name.value): kind for name, kind in PEFT_TYPE_TO_CONFIG_MAPPING.items()}

_LAST_TOKEN = "which hides the padding from a class that looks for the last token of a text"
_NO_PAST = "whose prefix stands for past keys and values, which the layers of this model do not take"
_FROM_DATA = "which is found from data by calls of its own"

# (method, or method and initialization; kind of model, or "decoder", or "any") → what is wrong with them together.
# What peft itself stumbles over is not listed: see `hfrep.adaptation.adapters.add_adapter`.
REFUSED: dict[tuple[str, str], str] = {
    ("PREFIX_TUNING", "distilbert"): _NO_PAST,
    ("PREFIX_TUNING", "modernbert"): _NO_PAST,
    ("PROMPT_TUNING", "decoder"): _LAST_TOKEN,
    ("P_TUNING", "decoder"): _LAST_TOKEN,
    ("ADALORA", "any"): "which moves its ranks only if told of each step",
    ("LILY", "any"): "whose output for a text changes with the padding beside it",
    ("LORA corda", "any"): _FROM_DATA,
    ("LORA eva", "any"): _FROM_DATA,
    ("LORA lora_ga", "any"): _FROM_DATA,
    ("LORA loftq", "any"): "which is for quantized models",
    ("LORA pissa_niter", "any"): "which splits the weights by a random method, so that a reopened adapter would differ",
}


def read_peft_config(file: Path) -> PeftConfig:
    """The configuration in a JSON file.

    Raises:
        ConfigError: it cannot be read, is of no known method, or has a field that the method does not know.
    """
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unfit(file, "a JSON file", reason(error)) from None
    if not isinstance(fields, dict):
        raise _unfit(file, "a JSON object", f"a {type(fields).__name__}")
    method = fields.get("peft_type")
    if not isinstance(method, str) or method not in CLASSES:
        nearest = _nearest(str(method).upper(), CLASSES)
        raise _unfit(file, "a peft_type that peft knows", f"{method!r}", f"did you mean {nearest}?")
    known = {field.name for field in dataclasses.fields(CLASSES[method]) if field.init}
    for name in fields:
        if name not in known:
            raise _unfit(file, f"fields of {method}", f"{name!r}", f"did you mean {_nearest(name, known)}?")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = CLASSES[method](**fields)
    except Exception as error:  # each class of peft checks its fields in its own way
        raise _unfit(file, f"values that {method} takes", reason(error)) from error
    if config.is_prompt_learning and not getattr(config, "num_virtual_tokens", None):
        raise _unfit(file, "num_virtual_tokens, 1 or more", "none", "add it")
    return config


def refuse_combination(config: PeftConfig, model: PreTrainedModel) -> None:
    """Check that the method of `config` can adapt `model` and keep all that is new in it.

    Raises:
        ConfigError: it stands in `REFUSED`, or cannot save a new head.
    """
    kind = model.config.model_type
    kinds = (kind, "decoder", "any") if is_causal(kind, model.config) else (kind, "any")
    faults = [REFUSED[method, kind] for method in _names(config) for kind in kinds if (method, kind) in REFUSED]
    if not hasattr(config, "modules_to_save"):
        faults.append("which cannot train and save a new head beside it")
    if faults:
        raise ConfigError(
            where="the adapter",
            expected=f"a method that fits {type(model).__name__}",
            found=f"{list(_names(config))[-1]}, {faults[0]}",
            do="choose another, such as LORA",
        )


def _names(config: PeftConfig) -> Iterator[str]:
    """The method, and the method with its initialization where that has a name."""
    method = method_of(config)
    yield method
    initialization: Any = getattr(config, "init_lora_weights", None)
    if isinstance(initialization, str):
        yield f"{method} {re.sub('_[0-9]+$', '', initialization)}"


def _nearest(name: str, known: Iterable[str]) -> str:
    return str(difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)[0])


def _unfit(file: Path, expected: str, found: str, do: str = "correct the file") -> ConfigError:
    return ConfigError(where=f"--peft_config {file}", expected=expected, found=found, do=do)
