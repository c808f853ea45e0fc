"""An adapter merged into its base: one stock model that needs neither peft nor the base."""

from collections.abc import Mapping

import torch
from peft import PeftConfig, PeftModel
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor
from transformers import PreTrainedModel

from hfrep.adaptation.adapter_methods import method_of
from hfrep.errors import ConfigError, ProofError
from hfrep.export import TOLERANCE
from hfrep.models.stored import reason


def merge(model: PeftModel, inputs: Mapping[str, Tensor]) -> tuple[PreTrainedModel, float]:
    """The stock model that computes what `model` does, in its dtype, and the largest difference between their logits.

    `model` is used up: its modules go into the merged one.

    Args:
        inputs: arguments of a forward pass, on which the two are compared.

    Raises:
        ConfigError: the method adds what cannot be merged into weights.
        ProofError: the merged model computes something else.
    """
    config = model.peft_config[model.active_adapter]
    if config.is_prompt_learning:
        raise _cannot_merge(config, "prompts are no weights")
    with torch.no_grad():
        before = model.eval()(**inputs).logits
        # peft does this itself, but not for all methods, and for others it loses its way in what it has put in place.
        for name, module in list(model.base_model.named_modules()):
            if isinstance(module, AuxiliaryTrainingWrapper):
                trained = module.unload_and_optionally_merge_module(merge=True, safe_merge=False, adapter_names=None)
                model.base_model.set_submodule(name, trained)
        try:
            merged: PreTrainedModel = model.merge_and_unload().eval()
        except (NotImplementedError, ValueError) as error:
            raise _cannot_merge(config, reason(error)) from error
        after = merged(**inputs).logits
    difference = float((after - before).abs().max())
    if not difference <= TOLERANCE * float(before.abs().max()):
        raise ProofError(
            where="the merged model",
            expected=f"logits as the adapter's to {TOLERANCE:g} of the largest",
            found=f"a difference of {difference:.2g}",
            do="use it as an adapter, and report this",
        )
    return merged, difference


def _cannot_merge(config: PeftConfig, why: str) -> ConfigError:
    return ConfigError(
        where="the adapter",
        expected="a method whose change can be merged into weights, such as LORA",
        found=f"{method_of(config)}: {why}",
        do="use it as an adapter",
    )
