"""What an adaptation is: a way to make a predictor for a task out of a pretrained model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from hfrep.adaptation.adapters import AdapterSettings
from hfrep.card import Evaluation
from hfrep.data.examples import Examples
from hfrep.data.rows import Rows
from hfrep.errors import ConfigError
from hfrep.export import Reopening
from hfrep.models.features import Pooling
from hfrep.objectives.supervised import Predictor
from hfrep.settings import setting
from hfrep.tasks.base import Task
from hfrep.training.optim import OptimizerSettings


class Candidate(NamedTuple):
    """What is searched over: a learning rate, and for frozen features the number of the layer they come from."""

    learning_rate: float
    layer: int | None = None

    def __str__(self) -> str:
        layer = "" if self.layer is None else f", layer {self.layer}"
        return f"learning rate {self.learning_rate:g}{layer}"


@dataclass(frozen=True, kw_only=True)
class FeatureSettings:
    pooling: Pooling = setting(
        "mean",
        "frozen: of a layer's vectors, the first token's (cls), the last one's, their mean or max; class_head: "
        "train the stock class's own new modules",
    )
    layer: str = setting("-1", "frozen: number of the layer, 0 for the embeddings, negative from the end; or all")


@dataclass(frozen=True, kw_only=True)
class FineTuningSettings:
    """AdamW as fine-tuning wants it; the learning rates are searched."""

    weight_decay: float = setting(0.01, "decoupled decay of weight matrices, per unit of learning rate")
    max_grad_norm: float = setting(1.0, "gradients are scaled down to this norm; 0 for no limit")
    lr_scheduler_type: Literal["linear", "cosine", "warmup_stable_decay", "constant"] = setting(
        "linear", "shape of the learning rate over a training; all but constant end at 0", kind="schedule"
    )
    warmup_steps: float = setting(
        0.1, "rise from 0 to the peak: steps, or below 1 a fraction of the training", kind="schedule"
    )
    dropout: float | None = setting(
        None, "share of activations dropped in training; default: what the model's config says"
    )

    def __post_init__(self) -> None:
        self.at(1.0)
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ConfigError(where="--dropout", expected="a share in [0, 1)", found=f"{self.dropout}", do="correct it")

    def at(self, learning_rate: float) -> OptimizerSettings:
        """The settings of an optimizer with this peak learning rate."""
        return OptimizerSettings(
            optimizer="adamw",
            learning_rate=learning_rate,
            weight_decay=self.weight_decay,
            max_grad_norm=self.max_grad_norm,
            adam_beta2=0.999,
            lr_scheduler_type=self.lr_scheduler_type,
            warmup_steps=self.warmup_steps,
        )


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A task for a model, under one seed.

    Attributes:
        model: the pretrained model: a folder or a Hub id.
        cache: folder that features are kept in.
        device: that features are computed on.
        random_weights: take the model's shape only.
        seed: of new weights, order of rows and dropout.
    """

    model: str
    task: Task
    tokenizer: PreTrainedTokenizerFast
    features: FeatureSettings
    adapters: AdapterSettings
    dropout: float | None
    cache: Path
    device: torch.device
    random_weights: bool = False
    seed: int = 0


class Fit(NamedTuple):
    """What a training gave: the logits [n, candidates, outputs] for each split that was asked for, and its cost.

    Attributes:
        trained, parameters: how many numbers were trained, and how many the whole model has.
        memory: bytes, peak above what was resident before; None where the system does not tell.
    """

    logits: Mapping[str, NDArray[np.float32]]
    trained: int
    parameters: int
    minutes: float
    memory: int | None


@dataclass(frozen=True)
class Adapted:
    """A predictor that is ready to be trained.

    Attributes:
        objective: what trains.
        rows: encoded examples → the rows it takes.
        base_rate: learning rate of the optimizer.
        trained, parameters: see `Fit`.
        save: writes candidate `number`, or where tasks share a body the model of task `number`, with its card to a
            folder and says what reopens it.
    """

    objective: Predictor
    rows: Callable[[Examples], Rows]
    base_rate: float
    trained: int
    parameters: int
    save: Callable[[Path, int, "CardFacts"], Reopening]


@dataclass(frozen=True)
class CardFacts:
    """What the card of an adapted model tells of how it came about.

    Attributes:
        training: a table of name and value.
        evaluations: what it scores.
        dataset: Hub id of what it was trained on; None where it is none of the Hub.
        probe: a few encoded examples that its reopening is compared on, and the text of the first.
    """

    training: Mapping[str, object]
    evaluations: Sequence[Evaluation]
    dataset: str | None
    probe: Examples
    text: Sequence[str]


@dataclass(frozen=True)
class Adaptation:
    """A row of the registry.

    Attributes:
        adapt: makes the predictor for candidates that train side by side; the training examples are at hand for what
            hangs on them, as means do.
        groups: what is searched over, given the learning rates: the candidates of each run.
        learning_rates, epochs: defaults, chosen on small models.
        folder: name of what is saved.
    """

    adapt: Callable[[Problem, Examples, Sequence[Candidate]], Adapted]
    groups: Callable[[Problem, Sequence[float]], Sequence[Sequence[Candidate]]]
    learning_rates: tuple[float, ...]
    epochs: float
    folder: str


def one_by_one(problem: Problem, learning_rates: Sequence[float]) -> list[list[Candidate]]:
    """A run of its own for each learning rate."""
    return [[Candidate(rate)] for rate in learning_rates]
