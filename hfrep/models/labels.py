"""What a stock classification class is told of its labels."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedConfig


def label_config(labels: Sequence[str] | None) -> dict[str, Any]:
    """What the config of a classifier for `labels` says; None for one number."""
    outputs = 1 if labels is None else len(labels)
    told: dict[str, Any] = {
        "num_labels": outputs,
        "problem_type": "regression" if labels is None else "single_label_classification",
    }
    if labels is not None:
        told["id2label"] = dict(enumerate(labels))
        told["label2id"] = {label: number for number, label in enumerate(labels)}
    return told


def label_count(config: PreTrainedConfig, shapes: Mapping[str, Sequence[int]]) -> int:
    """For how many labels a head was trained, by the sizes that grow with the labels; the config's where none is known.

    Args:
        config: of the classifier's base.
        shapes: of weights of the classifier, by their names.
    """
    two, three = (_shapes(config, number) for number in (2, 3))
    known = [shapes[name][0] for name, shape in two.items() if shape != three[name] and name in shapes]
    return int(known[0]) if known else int(config.num_labels)


def _shapes(config: PreTrainedConfig, labels: int) -> dict[str, tuple[int, ...]]:
    config = copy.deepcopy(config)
    config.num_labels = labels
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}
