"""A stock sequence-classification model on a stored or a fresh body, and which of its modules are new."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from hfrep.errors import ConfigError
from hfrep.models.labels import label_config
from hfrep.models.named import load_with_new_head, stored_config
from hfrep.models.presets import set_dropout
from hfrep.models.quiet import quiet_library


@dataclass(frozen=True)
class Classifier:
    """A model and what of it is new.

    Attributes:
        model: of the stock sequence-classification class, in float32; with one output and no label names it is a
            regression.
        new: names of the modules whose weights are not stored but drawn at random: the head, and a pooler where
            pretraining had none. Only training makes sense of them, and whoever saves parts must save these.
    """

    model: PreTrainedModel
    new: tuple[str, ...]


def open_classifier(
    name: str,
    *,
    labels: Sequence[str] | None,
    pad_token_id: int,
    dropout: float | None = None,
    random_weights: bool = False,
) -> Classifier:
    """The model in a folder or on the Hub with a head for `labels`; new weights from torch's global generator.

    Args:
        labels: names of the classes in the order of their numbers; None for one number.
        pad_token_id: the tokenizer's; decoders look for the last token that is another.
        dropout: share that the live modules drop in training; None for what the model's own config says.
        random_weights: draw all weights at random, the shape being the stored one; what is called new stays the same.

    Raises:
        ConfigError: it cannot be opened, is no text model, or has a head for other labels.
    """
    head = {**label_config(labels), "pad_token_id": pad_token_id}
    with quiet_library():
        stored = stored_config(name)
        if stored is not None:
            _refuse_other_labels(name, stored, labels)
        model, missing = load_with_new_head(name, AutoModelForSequenceClassification, **head)
        if random_weights:
            model = AutoModelForSequenceClassification.from_config(copy.deepcopy(model.config), dtype=torch.float32)
    if dropout is not None:
        set_dropout(model, dropout)
    return Classifier(model.eval(), _modules_of(model, missing))


def require_text_body(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Refuse a `model` whose layers texts by `tokenizer` cannot go through one after the other.

    Raises:
        ConfigError: it is an encoder with a decoder, or has fewer embeddings than there are tokens.
    """
    if model.config.is_encoder_decoder:
        raise ConfigError(
            where=f"--model_name_or_path {name}",
            expected="an encoder or a decoder",
            found=f"{type(model).__name__}, which is both",
            do="give a model such as BERT or GPT-2",
        )
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise ConfigError(
            where="the tokenizer",
            expected=f"at most the {rows:,} tokens that {name} has embeddings for",
            found=f"{len(tokenizer):,} tokens",
            do="give the tokenizer that the model was made with",
        )


def _refuse_other_labels(name: str, config: PreTrainedConfig, labels: Sequence[str] | None) -> None:
    """A head that was trained for labels by name is one for them in its own order and no other."""
    classifies = any("SequenceClassification" in architecture for architecture in config.architectures or ())
    if not classifies:
        return
    theirs = [config.id2label[number] for number in sorted(config.id2label)]
    named = [label for number, label in enumerate(theirs) if label != f"LABEL_{number}"]
    ours = ["LABEL_0"] if labels is None else list(labels)
    if len(theirs) != len(ours) or (named and theirs != ours):
        raise ConfigError(
            where=f"--model_name_or_path {name}",
            expected=f"a head for {_shown(ours)}, in this order",
            found=_shown(theirs),
            do="give a model that was trained on this task, or one without a head",
        )


def _shown(labels: Sequence[str]) -> str:
    return ", ".join(f"{number} = {label}" for number, label in enumerate(labels))


def _modules_of(model: PreTrainedModel, missing: Sequence[str]) -> tuple[str, ...]:
    """The outermost modules all of whose weights are among `missing`."""
    weights, absent = {key for key, _ in model.named_parameters()}, set(missing)

    def is_new(module: str) -> bool:
        inside = {key for key in weights if key.startswith(f"{module}.")}
        return bool(inside) and inside <= absent

    new = [name for name, _ in model.named_modules() if name and is_new(name)]
    return tuple(name for name in new if not any(name.startswith(f"{other}.") for other in new))
