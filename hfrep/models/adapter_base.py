"""The model that an adapter was trained on: where it is now, and opened by the class that the adapter is for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peft import PeftConfig
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

from hfrep.errors import CheckpointError, ConfigError
from hfrep.fetching import HubName, fetched
from hfrep.models.adapter_facts import CONFIG, AdapterFacts, base_name
from hfrep.models.base_weights import SEARCHED, Weights, find_base
from hfrep.models.labels import label_config, label_count
from hfrep.models.quiet import quiet_library
from hfrep.models.stored import load_folder

PREFIX = "base_model.model."  # of the weights in an adapter's file
# What opens a base, by the task that peft was told, or by the class that the adapter was put on.
BY_TASK: dict[str, Any] = {
    "CAUSAL_LM": AutoModelForCausalLM,
    "SEQ_CLS": AutoModelForSequenceClassification,
    "FEATURE_EXTRACTION": AutoModel,
}
BY_CLASS: tuple[tuple[Any, Mapping[str, Any]], ...] = (
    (AutoModelForMaskedLM, MODEL_FOR_MASKED_LM_MAPPING_NAMES),
    (AutoModelForCausalLM, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES),
    (AutoModelForSequenceClassification, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES),
    (AutoModel, MODEL_MAPPING_NAMES),
)


def base_folder(folder: Path, facts: AdapterFacts | None, base: str | None, name: str) -> Path:
    """Where the base model of the adapter in `folder` is: what `base` says, or else the adapter.

    One of ours, with `facts`, knows its base by the weights, which may have moved to another folder below ``runs``.

    Raises:
        ConfigError: it is not found, or `base` has other weights than those that the adapter was trained on.
        HubError: the Hub does not give it.
    """
    if base is not None:
        place = fetched(base, where="--base")
        if facts is not None and (weights := Weights.of(place)) != facts.weights:
            raise ConfigError(
                where=f"--base {base}",
                expected=f"the weights that {name} was trained on (digest {facts.weights.digest[:12]}…)",
                found=f"others ({weights.digest[:12]}…)",
                do=f"give the model that was {facts.base}",
            )
        return place
    where = f"the base model of {name}"
    if facts is None:
        try:
            return fetched(base_name(folder), where=where)
        except ConfigError as error:
            do = f"correct base_model_name_or_path in its {CONFIG}"
            raise ConfigError(where=where, expected=error.expected, found=error.found, do=do) from None
    found = find_base(facts.weights, [facts.base, base_name(folder)])
    if found is None:
        if HubName.parse(facts.base) is not None:
            fetched(facts.base, where=where)  # says why it is out of reach, where it is
        raise ConfigError(
            where=where,
            expected=f"the weights it was trained on, in {facts.base} or in a folder below {SEARCHED}",
            found="none with their digest",
            do="say where that model is now, with --base of recipes/merge.py",
        )
    return found


def open_base(
    place: Path,
    config: PeftConfig,
    facts: AdapterFacts | None,
    shapes: Mapping[str, Sequence[int]],
    pad_token_id: int | None,
    name: str,
) -> tuple[PreTrainedModel, list[str]]:
    """The base in `place`, with room for the adapter's head and embeddings, and the names of weights that are random.

    Args:
        shapes: of the adapter's weights, by their names in its file.
        name: what the user called the adapter.

    Raises:
        CheckpointError: the adapter is for a class that is not opened here.
        ConfigError: the base cannot be opened.
    """
    auto_class = _auto_class(config, name)
    told: dict[str, Any] = {}
    with quiet_library():
        if auto_class is AutoModelForSequenceClassification:
            told = _labels(place, facts, shapes)
            if pad_token_id is not None:
                told["pad_token_id"] = pad_token_id
        where = f"the base model of {name}"
        model, missing = load_folder(place, auto_class, name=str(place), where=where, **told)
        # A pooler that pretraining did not have is no part of a body: saved with it, it would pass for a trained one.
        if auto_class is AutoModel and any("pooler." in key for key in missing) and "pooler." not in " ".join(shapes):
            model, missing = load_folder(place, auto_class, name=str(place), where=where, add_pooling_layer=False)
        embeddings = model.get_input_embeddings()
        key = next(key for key, module in model.named_modules() if module is embeddings)
        rows = shapes.get(f"{PREFIX}{key}.weight", embeddings.weight.shape)[0]
        if rows != embeddings.weight.shape[0]:  # tokens were added in training
            model.resize_token_embeddings(rows, mean_resizing=False)
    return model, missing


def _labels(place: Path, facts: AdapterFacts | None, shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    if facts is not None:
        return label_config(facts.labels)
    config = AutoConfig.from_pretrained(place, local_files_only=True)
    return {"num_labels": label_count(config, {key.removeprefix(PREFIX): shape for key, shape in shapes.items()})}


def _auto_class(config: PeftConfig, name: str) -> Any:
    task = None if config.task_type is None else str(getattr(config.task_type, "value", config.task_type))
    if task in BY_TASK:
        return BY_TASK[task]
    put_on = None if task else (config.auto_mapping or {}).get("base_model_class")
    for auto_class, names in BY_CLASS:
        if put_on in names.values():
            return auto_class
    raise CheckpointError(
        where=f"{name}/{CONFIG}",
        expected="an adapter for a language model, a classifier of texts or a body",
        found=f"one for {task or put_on or 'a class that it does not name'}",
        do="open it with peft",
    )
