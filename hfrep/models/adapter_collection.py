"""Several adapters on one base model in one process, one for each task; which of them computes is switched.

::

    collection = load_adapters({"cola": "me/adapters/cola/lora", "mnli": "me/adapters/mnli/lora"})
    model = collection.switch_to("mnli")
    logits = model(**collection.tokenizer("A text.", "Another.", return_tensors="pt")).logits
    label = collection.labels["mnli"][int(logits.argmax())]

Loading and switching are peft's. It copies the head of a new adapter from the model's own, so that all adapters would
have to be for the same number of labels. Here the model gets a head of the right size before each is loaded.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from peft import PeftModel
from peft.utils.other import ModulesToSaveWrapper
from transformers import PreTrainedConfig, PreTrainedTokenizerFast

from hfrep.data.tokenizer import tokenizer_hash
from hfrep.errors import ConfigError
from hfrep.fetching import fetched
from hfrep.models.adapter_base import base_folder
from hfrep.models.adapter_facts import AdapterFacts
from hfrep.models.adapter_files import loading, method_of, open_adapter
from hfrep.models.base_weights import Weights

TOLD = ("id2label", "label2id", "problem_type", "pad_token_id")  # what a config says of a head


@dataclass(frozen=True)
class AdapterCollection:
    """What `load_adapters` gives.

    Attributes:
        model: in float32, in eval mode and frozen; its adapters have the names of their tasks.
        tokenizer: the same for all.
        configs: by task, that of the model with this adapter alone.
    """

    model: PeftModel
    tokenizer: PreTrainedTokenizerFast
    configs: Mapping[str, PreTrainedConfig]

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """By task, names of the classes in the order of their numbers; LABEL_0 alone where a number is predicted."""
        return {
            task: tuple(config.id2label[n] for n in sorted(config.id2label)) for task, config in self.configs.items()
        }

    def switch_to(self, task: str) -> PeftModel:
        """The model, which from now on computes what the adapter of `task` alone does, and has its labels.

        Raises:
            ConfigError: there is no adapter for it.
        """
        if task not in self.configs:
            known = ", ".join(self.configs)
            raise ConfigError(
                where="the adapters", expected=f"one of {known}", found=task, do="load it with the others"
            )
        self.model.set_adapter(task, inference_mode=True)
        for name in TOLD:
            setattr(self.model.config, name, getattr(self.configs[task], name))
        self.model.get_base_model().num_labels = self.configs[task].num_labels
        return self.model


def load_adapters(adapters: Mapping[str, str], *, base: str | None = None) -> AdapterCollection:
    """The adapters of several tasks on one base model; the first one is switched on.

    Args:
        adapters: by task, folders or Hub ids.
        base: the base model, a folder or a Hub id; default: what the adapters say.

    Raises:
        HfrepError: one is not there or damaged, or they have not one method, base model and tokenizer in common.
    """
    if not adapters:
        raise ConfigError(where="the adapters", expected="one or more", found="none", do="name them")
    (first, name), *others = adapters.items()
    model, tokenizer = open_adapter(fetched(name), base, name=name, adapter_name=first)
    weights, configs = _base_weights(name, base), {first: copy.deepcopy(model.config)}
    for task, other in others:
        # Opened alone first: what is wrong with it is told, and its head is of the right size.
        alone, its_tokenizer = open_adapter(fetched(other), base, name=other, adapter_name=task)
        methods = [method_of(one.peft_config[one.active_adapter]) for one in (model, alone)]
        if methods[0] != methods[1] or type(model.get_base_model()) is not type(alone.get_base_model()):
            found = f"{methods[1]} on {type(alone.get_base_model()).__name__}"
            raise _unlike(other, f"{methods[0]} on {type(model.get_base_model()).__name__}", name, found)
        if _base_weights(other, base) != weights:
            raise _unlike(other, "the base model", name, "another")
        if tokenizer_hash(its_tokenizer) != tokenizer_hash(tokenizer):
            raise _unlike(other, "the tokenizer", name, "another")
        _add(model, alone, task, fetched(other), other)
        configs[task] = alone.config
    collection = AdapterCollection(model.eval(), tokenizer, configs)
    collection.switch_to(first)
    return collection


def _add(model: PeftModel, alone: PeftModel, task: str, folder: Path, name: str) -> None:
    """Put the adapter of `task`, which is opened as `alone` too, beside those that `model` has."""
    for place, module in alone.named_modules():
        if isinstance(module, ModulesToSaveWrapper):
            ours = model.get_submodule(place)
            if isinstance(ours, ModulesToSaveWrapper):
                ours.original_module = module.modules_to_save[task]
            else:
                model.set_submodule(place, module.modules_to_save[task])
    with loading(model, name):
        model.load_adapter(str(folder), task, torch_device="cpu")


def _base_weights(name: str, base: str | None) -> Weights:
    folder = fetched(name)
    return Weights.of(base_folder(folder, AdapterFacts.read(folder), base, name))


def _unlike(name: str, expected: str, first: str, found: str) -> ConfigError:
    return ConfigError(
        where=f"adapter {name}",
        expected=f"{expected} of {first}",
        found=found,
        do="serve it in a process of its own",
    )
