"""An adapter merged into its base: one stock model that needs neither peft nor the base.

So an adapter is given wherever a model is: what opens models opens the merged one, which is kept in the cache.
"""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor
from transformers import PreTrainedModel

from hfrep.data.cache import default_cache, prepared
from hfrep.errors import ConfigError, ProofError
from hfrep.models.adapter_base import base_folder
from hfrep.models.adapter_facts import AdapterFacts
from hfrep.models.adapter_files import method_of, open_adapter, read_config
from hfrep.models.base_weights import Weights
from hfrep.models.isolation import longest_document
from hfrep.models.quiet import quiet_library
from hfrep.models.stored import reason

FORMAT = 1  # part of the cache key: raise it when a merged model changes
TOLERANCE = 1e-4  # of the largest output: the same numbers are added in another order
TRIED = 16  # tokens that the merged model is compared on
CARDS = ("README.md", "card.json")


def merge(
    model: PeftModel, inputs: Mapping[str, Tensor], *, name: str = "the adapter"
) -> tuple[PreTrainedModel, float]:
    """The stock model that computes what `model` does, in its dtype, and the largest difference between their outputs.

    Outputs are logits, or of a body its hidden states. `model` is used up: its modules go into the merged one.

    Args:
        inputs: arguments of a forward pass, on which the two are compared.
        name: what errors call the adapter.

    Raises:
        ConfigError: the method adds what cannot be merged into weights.
        ProofError: the merged model computes something else.
    """
    config = model.peft_config[model.active_adapter]
    require_mergeable(config, name)
    with torch.no_grad():
        before = _outputs(model.eval(), inputs)
        _untie(model)
        # peft does this itself, but not for all methods, and for others it loses its way in what it has put in place.
        for place, module in list(model.base_model.named_modules()):
            if isinstance(module, AuxiliaryTrainingWrapper):
                trained = module.unload_and_optionally_merge_module(merge=True, safe_merge=False, adapter_names=None)
                model.base_model.set_submodule(place, trained)
        try:
            merged: PreTrainedModel = model.merge_and_unload().eval()
        except (NotImplementedError, ValueError) as error:
            raise _cannot_merge(config, reason(error), name) from error
        after = _outputs(merged, inputs)
    difference = float((after - before).abs().max())
    if not difference <= TOLERANCE * float(before.abs().max()):
        raise ProofError(
            where=f"{name}, merged",
            expected=f"outputs as the adapter's to {TOLERANCE:g} of the largest",
            found=f"a difference of {difference:.2g}",
            do="use it as an adapter, and report this",
        )
    return merged, difference


def require_mergeable(config: PeftConfig, name: str) -> None:
    """Refuse a method that adds something else than a change of weights.

    Raises:
        ConfigError: it is such a one.
    """
    if config.is_prompt_learning:
        raise _cannot_merge(config, "prompts are no weights", name)


def merged_folder(adapter: Path, name: str) -> Path:
    """A folder with the stock model that the adapter in the folder `adapter` and its base are together.

    Args:
        name: what the user called the adapter.

    Raises:
        HfrepError: the adapter or its base cannot be opened, or they cannot be merged.
    """
    return _merged_folder(adapter.resolve(), name, default_cache())


@functools.cache  # since telling whether it is merged already takes reading the whole base
def _merged_folder(adapter: Path, name: str, cache: Path) -> Path:
    require_mergeable(read_config(adapter, name), name)
    base = base_folder(adapter, AdapterFacts.read(adapter), None, name)
    digest = hashlib.blake2b(f"{FORMAT} {Weights.of(base).digest}".encode(), digest_size=16)
    for file in [base / "config.json", *sorted(adapter.iterdir())]:
        if file.is_file() and file.name not in CARDS:
            digest.update(file.name.encode() + file.read_bytes())

    def build(folder: Path) -> None:
        model, tokenizer = open_adapter(adapter, name=name)
        length = min(TRIED, longest_document(model.config) or TRIED)
        tokens = torch.arange(length)[None] % model.get_input_embeddings().weight.shape[0]
        merged, _ = merge(model, {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}, name=name)
        with quiet_library():
            merged.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return prepared(cache / "merged" / digest.hexdigest(), build)


def _untie(model: PeftModel) -> None:
    """Part tied embeddings of which an adapter changes one: else its change would be merged into both."""
    base: PreTrainedModel = model.get_base_model()
    layers: list[Any] = [base.get_input_embeddings(), base.get_output_embeddings()]
    first, last = (getattr(layer, "base_layer", layer) for layer in layers)
    changed = [first, last] != layers
    if changed and last is not None and first.weight is last.weight:
        last.weight = torch.nn.Parameter(last.weight.detach().clone(), requires_grad=False)
        base.config.tie_word_embeddings = False


def _outputs(model: torch.nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    outputs = model(**inputs)
    tensor: Tensor = outputs.logits if "logits" in outputs else outputs.last_hidden_state
    return tensor


def _cannot_merge(config: PeftConfig, why: str, name: str) -> ConfigError:
    return ConfigError(
        where=name,
        expected="a method whose change can be merged into weights, such as LORA",
        found=f"{method_of(config)}: {why}",
        do="use it as an adapter",
    )
