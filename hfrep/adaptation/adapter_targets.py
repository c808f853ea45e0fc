"""Which modules of a model an adapter changes, found by the shapes of modules and not by the name of the model.

peft knows targets for some kinds of models; where it does not it raises, and for some (distilbert, ``all-linear``) it
fails. Here a target is what it is in every stock model: a linear layer inside a list of layers, or a norm.
"""

from collections.abc import Callable, Iterable

from peft import PeftConfig
from peft.tuners.tuners_utils import check_target_module_exists
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from hfrep.errors import ConfigError
from hfrep.models.adapter_files import method_of

# Last part of the names that stock classes give to what computes keys and values, alone or with the queries.
KEYS_AND_VALUES = frozenset(
    "k v key value k_proj v_proj k_lin v_lin key_proj value_proj "
    "c_attn Wqkv qkv qkv_proj in_proj query_key_value".split()
)


def choose_targets(config: PeftConfig, model: PreTrainedModel) -> None:
    """Set the target modules of `config`, which may name some, for `model`.

    Default are all linear layers of the blocks (Hu et al. 2021 leave it open; Dettmers et al. 2023, "QLoRA", find all
    of them needed); for LN-tuning all norms of the body; for IA3 (Liu et al. 2022) what computes keys and values, and
    the second layer of each feed-forward part. What is in ``modules_to_save`` is no target.

    Raises:
        ConfigError: a name matches nothing, or tied embeddings, or IA3 finds nothing.
    """
    if not hasattr(config, "target_modules") or (
        not config.target_modules and getattr(config, "target_parameters", None)
    ):
        return
    given = config.target_modules
    if given is None or given == "all-linear":
        config.target_modules = DEFAULTS.get(method_of(config), linears_of_blocks)(model)
        given = None
    matched = [name for name, _ in model.named_modules() if name and _is_target(config, name)]
    _refuse_unmatched(config, given, matched, model)
    _refuse_tied(matched, model)
    if hasattr(config, "feedforward_modules"):
        config.target_modules = set(matched)  # its list of feed-forward layers must be part of it, name by name
        if config.feedforward_modules is None:
            config.feedforward_modules = set(matched) & set(_second_feedforwards(model))
    if hasattr(config, "fan_in_fan_out"):
        config.fan_in_fan_out = any(isinstance(model.get_submodule(name), Conv1D) for name in matched)


def linears_of_blocks(model: nn.Module) -> list[str]:
    """Names of the linear layers inside lists of layers: no embeddings, pooler or head."""
    lists = tuple(f"{name}." for name, module in model.named_modules() if isinstance(module, nn.ModuleList))
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and name.startswith(lists)
    ]


def norms_of_body(model: PreTrainedModel) -> list[str]:
    """Names of the modules of the body whose weights are vectors, which they multiply and add."""
    body = f"{model.base_model_prefix}."
    return [
        name
        for name, module in model.named_modules()
        if name.startswith(body) and module._parameters and all(part.ndim == 1 for part in module.parameters())
    ]


def _scaled_by_ia3(model: PreTrainedModel) -> list[str]:
    keys, second = _keys_and_values(model), _second_feedforwards(model)
    if not keys or not second:
        raise ConfigError(
            where="the adapter",
            expected="layers by whose names and shapes IA3 can tell keys, values and feed-forward layers",
            found=f"none such in {type(model).__name__}",
            do="name them as target_modules and feedforward_modules in --peft_config",
        )
    return [*keys, *second]


DEFAULTS: dict[str, Callable[[PreTrainedModel], list[str]]] = {"LN_TUNING": norms_of_body, "IA3": _scaled_by_ia3}


def _keys_and_values(model: nn.Module) -> list[str]:
    return [name for name in linears_of_blocks(model) if name.rpartition(".")[2] in KEYS_AND_VALUES]


def _second_feedforwards(model: PreTrainedModel) -> list[str]:
    """The layers that come back to the model's width from a larger one, outside of attention."""
    attentions = tuple(name.rpartition(".")[0] + "." for name in _keys_and_values(model))

    def narrows(name: str) -> bool:
        module = model.get_submodule(name)
        inputs, outputs = module.weight.shape if isinstance(module, Conv1D) else module.weight.T.shape
        return bool(outputs == model.config.hidden_size < inputs)

    return [name for name in linears_of_blocks(model) if narrows(name) and not name.startswith(attentions)]


def _is_target(config: PeftConfig, name: str) -> bool:
    try:
        return bool(check_target_module_exists(config, name))
    except Exception as error:  # of re, for a pattern that is none
        raise ConfigError(
            where="target_modules", expected="names or a regular expression", found=str(error), do="correct it"
        ) from None


def _refuse_unmatched(
    config: PeftConfig, given: str | Iterable[str] | None, matched: list[str], model: PreTrainedModel
) -> None:
    names = [given] if isinstance(given, str) else sorted(given or [])
    idle = [] if isinstance(given, str) else [name for name in names if not _names_any(name, matched)]
    if matched and not idle:
        return
    possible = norms_of_body(model) if method_of(config) == "LN_TUNING" else linears_of_blocks(model)
    ends = ", ".join(sorted({name.rpartition(".")[2] for name in possible}))
    raise ConfigError(
        where="target_modules",
        expected=f"names of modules in {type(model).__name__}, such as {ends or 'linear layers'}",
        found=f"{', '.join(idle or names)}, which match nothing that may be adapted" if names else "none",
        do="correct the names" if possible else "choose another model or method",
    )


def _names_any(name: str, matched: list[str]) -> bool:
    return any(module == name or module.endswith(f".{name}") for module in matched)


def _refuse_tied(matched: list[str], model: PreTrainedModel) -> None:
    """A change of one of two uses of a matrix is merged into both."""
    if not getattr(model.config, "tie_word_embeddings", False):
        return
    embeddings = [module for module in (model.get_input_embeddings(), model.get_output_embeddings()) if module]
    tied = [name for name in matched if any(model.get_submodule(name) is module for module in embeddings)]
    if tied:
        raise ConfigError(
            where="target_modules",
            expected="no embeddings in a model whose input and output embeddings are one",
            found=tied[0],
            do="leave them out",
        )
