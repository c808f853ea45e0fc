"""Adapters of peft, of this package and of others, opened on their base models.

They are opened strictly: missing or superfluous weights, other base weights and another number of labels are errors,
where peft warns or goes on. Of an adapter of ours ``labels.json`` tells the labels and the digest of the base. Of
another one the number of labels is read off its weights, and its base is what its configuration names.
"""

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

from peft import PeftConfig, PeftModel, PeftType, get_peft_model_state_dict
from peft.utils.save_and_load import load_peft_weights
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from hfrep.data.tokenizer import has_tokenizer, load_tokenizer
from hfrep.errors import CheckpointError
from hfrep.models.adapter_base import PREFIX, base_folder, open_base
from hfrep.models.adapter_facts import CONFIG, AdapterFacts, base_name
from hfrep.models.base_weights import means
from hfrep.models.quiet import quiet_library
from hfrep.models.stored import reason

WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


def open_adapter(
    folder: Path, base: str | None = None, *, name: str | None = None, adapter_name: str = "default"
) -> tuple[PeftModel, PreTrainedTokenizerFast]:
    """The adapter in `folder` on its base model, in float32, in eval mode and frozen, and its tokenizer.

    Args:
        base: where the base model is now; default: where the adapter says, or else, of one of ours, any folder below
            ``runs`` with the same weights.
        name: what the user called the folder.
        adapter_name: what peft is to call the adapter.

    Raises:
        CheckpointError: the folder holds no adapter, or one that does not fit the base model.
        ConfigError: the base model is not found, or `base` is another.
        DataError: the tokenizer cannot be read.
    """
    name = name or str(folder)
    config, facts = read_config(folder, name), AdapterFacts.read(folder)
    shapes = _weight_shapes(folder, name)
    place = base_folder(folder, facts, base, name)
    tokenizer = load_tokenizer(str(folder if has_tokenizer(folder) else place), own_pad=False)
    model, missing = open_base(place, config, facts, shapes, tokenizer.pad_token_id, name)
    with loading(model, name):
        adapted = PeftModel.from_pretrained(model, str(folder), adapter_name, config=config, torch_device="cpu").eval()
        _check_weights(adapted, shapes, missing, name)
    names = [base_name(folder)] if facts is None else [facts.base, base_name(folder)]
    said = next((said for said in names if means(said, place)), None)
    model.config._name_or_path = said or str(place.resolve())
    if said is None:
        config.base_model_name_or_path, config.revision = str(place.resolve()), None
    return adapted, tokenizer


def read_config(folder: Path, name: str) -> PeftConfig:
    """What peft reads of the adapter in `folder`, which the user called `name`.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    if not (folder / CONFIG).is_file():
        inside = [path.parent for path in sorted(folder.glob(f"*/{CONFIG}"))]
        do = f"give {inside[0]}" if inside else "give the folder of an adapter"
        raise CheckpointError(where=name, expected=f"an {CONFIG}", found="none", do=do)
    try:
        config: PeftConfig = PeftConfig.from_pretrained(str(folder))
    except Exception as error:  # each class of peft checks its fields in its own way
        raise _damaged(f"{name}/{CONFIG}", "a configuration that peft reads", reason(error)) from error
    return config


def method_of(config: PeftConfig) -> str:
    """The name of a configuration's method, as peft spells it: ``LORA``."""
    return str(PeftType(config.peft_type).value)


def _weight_shapes(folder: Path, name: str) -> dict[str, tuple[int, ...]]:
    """Of the weights that the adapter in `folder` has, by their names in its file.

    Raises:
        CheckpointError: there is no file of them, or it cannot be read.
    """
    file = next((file for file in WEIGHTS if (folder / file).is_file()), None)
    if file is None:
        raise _damaged(f"{name}/{WEIGHTS[0]}", "the weights of an adapter", "No such file")
    try:
        weights = load_peft_weights(str(folder), device="cpu")
    except (OSError, SafetensorError, RuntimeError, UnpicklingError) as error:
        raise _damaged(f"{name}/{file}", "the weights of an adapter", reason(error)) from None
    return {key: tuple(weight.shape) for key, weight in weights.items()}


def _check_weights(model: PeftModel, given: Collection[str], missing: Collection[str], name: str) -> None:
    """Refuse what peft lets pass: that weights of an adapter are missing, or too many.

    Args:
        given: names of the weights in its file.
        missing: of the base's weights those that were drawn at random, which the adapter has to bring.
    """
    adapter = model.active_adapter
    prefix = "base_model." if model.peft_config[adapter].is_prompt_learning else PREFIX
    wanted = set(get_peft_model_state_dict(model, adapter_name=adapter, save_embedding_layers=False))
    wanted |= {prefix + key for key in missing}
    absent, extra = sorted(wanted - set(given)), sorted(set(given) - wanted - _embeddings(model))
    told = [f"{len(keys)} {word} ({keys[0]} …)" for keys, word in ((absent, "missing"), (extra, "extra")) if keys]
    if told:
        raise _damaged(f"{name}/{WEIGHTS[0]}", "the weights of the adapter and no others", " and ".join(told))


@contextmanager
def loading(model: PreTrainedModel, name: str) -> Iterator[None]:
    """While open, peft may load the weights of the adapter called `name` onto `model`; what it raises is a sentence.

    Raises:
        CheckpointError: the weights do not fit.
    """
    where = f"{name}/{WEIGHTS[0]}"
    try:
        with quiet_library(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except KeyError as error:  # peft looks for the modules it saves as they are
        raise _damaged(where, "all weights of the adapter", f"none called {error}") from None
    except (RuntimeError, ValueError, TypeError) as error:
        outputs = model.config.num_labels
        raise _damaged(where, f"weights for {type(model).__name__} with {outputs} outputs", reason(error)) from error


def _embeddings(model: PeftModel) -> set[str]:
    """What the weights of embeddings are called in an adapter's file, where tokens were added in training."""
    layers = [model.get_input_embeddings(), model.get_output_embeddings()]
    names = [name for name, module in model.named_modules() if any(module is layer for layer in layers)]
    return {f"{name}.{weight}" for name in names for weight in ("weight", "base_layer.weight")}


def _damaged(where: str, expected: str, found: str) -> CheckpointError:
    return CheckpointError(where=where, expected=expected, found=found, do="restore it, or train the adapter again")
