"""Parameter groups, AdamW and Muon, and learning rates as a function of progress.

AdamW decays weight matrices only: no decay on norms, biases and embeddings. Muon (Jordan et al. 2024;
`torch.optim.Muon`) takes the matrices of hidden linear layers, and AdamW the rest. Muon's updates are orthogonal
matrices, so its learning rate is of another size than AdamW's.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import nn
from transformers import get_scheduler
from transformers.modeling_utils import EmbeddingAccessMixin
from transformers.pytorch_utils import Conv1D

from hfrep.errors import ConfigError
from hfrep.settings import setting
from hfrep.training.muon import Muon

Scheduler = Literal["linear", "cosine", "warmup_stable_decay", "constant"]

PEAK = "peak_lr"  # where a parameter group keeps its peak learning rate
RESOLUTION = 1_000_000  # steps that stand for a whole run when a schedule is asked by progress
DECAYED_TYPES = (nn.Linear, Conv1D, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    optimizer: Literal["muon", "adamw"] = setting(
        "muon", "muon: Muon for hidden weight matrices and AdamW for the rest; adamw: AdamW for all"
    )
    # At 2e-3 steps wash out the initial position vectors: some runs then never leave the plateau at the unigram loss.
    learning_rate: float = setting(1e-3, "peak learning rate of AdamW")
    embedding_learning_rate: float | None = setting(
        None, "peak learning rate of AdamW for word vectors and output matrix; default: --learning_rate"
    )
    muon_learning_rate: float = setting(0.02, "peak learning rate of Muon")
    weight_decay: float = setting(0.01, "decoupled decay of weight matrices, per unit of learning rate")
    adam_beta1: float = setting(0.9, "AdamW: decay of the gradient's mean")
    adam_beta2: float = setting(0.98, "AdamW: decay of the gradient's square")
    adam_epsilon: float = setting(1e-8, "AdamW: added to the root of the gradient's square")
    muon_momentum: float = setting(0.95, "Muon: decay of the gradient's mean")
    max_grad_norm: float = setting(1.0, "gradients are scaled down to this norm; 0 for no limit")
    lr_scheduler_type: Scheduler = setting(
        "linear", "shape of the learning rate over the run; all but constant end at 0", kind="schedule"
    )
    warmup_steps: float = setting(
        0.05, "rise from 0 to the peak: steps, or below 1 a fraction of the budget", kind="schedule"
    )
    decay_fraction: float = setting(
        0.2, "warmup_stable_decay: last fraction of the budget, in which the rate falls", kind="schedule"
    )

    def __post_init__(self) -> None:
        if self.embedding_learning_rate is None:
            object.__setattr__(self, "embedding_learning_rate", self.learning_rate)
        for name in ("learning_rate", "embedding_learning_rate", "muon_learning_rate", "adam_epsilon"):
            self._require(name, getattr(self, name) > 0, "more than 0")
        for name in ("weight_decay", "max_grad_norm", "warmup_steps"):
            self._require(name, getattr(self, name) >= 0, "0 or more")
        for name in ("adam_beta1", "adam_beta2", "muon_momentum"):
            self._require(name, 0 <= getattr(self, name) < 1, "a number from 0 to below 1")
        self._require("decay_fraction", 0 < self.decay_fraction <= 1, "a fraction above 0, at most 1")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ConfigError(where=name, expected=expected, found=str(getattr(self, name)), do="correct the setting")


def require_whole_matrices(settings: OptimizerSettings, accelerator: Accelerator) -> None:
    """Refuse Muon where it cannot be computed.

    Raises:
        ConfigError: parameters are sharded, so that no process has a whole matrix to orthogonalize; or a gradient
            scaler is at work, which takes one optimizer.
    """
    sharded = accelerator.distributed_type == DistributedType.FSDP
    if settings.optimizer == "muon" and (sharded or accelerator.scaler is not None):
        raise ConfigError(
            where="--optimizer muon",
            expected="whole matrices on each process and no gradient scaler",
            found=f"{accelerator.distributed_type.value}, mixed precision {accelerator.mixed_precision}",
            do="give --optimizer adamw" if sharded else "give --optimizer adamw, or --mixed_precision bf16",
        )


def build_optimizers(module: nn.Module, settings: OptimizerSettings) -> list[torch.optim.Optimizer]:
    """Optimizers that together train each parameter of `module` that asks for a gradient, once."""
    matrices, decayed, plain = _sorted_parameters(module)
    if settings.optimizer == "adamw":
        matrices, decayed = [], matrices + decayed
    words = _word_matrices(module)
    groups = [
        {
            "params": [parameter for parameter in parameters if (id(parameter) in words) == for_words],
            "weight_decay": decay,
            "lr": settings.embedding_learning_rate if for_words else settings.learning_rate,
        }
        for parameters, decay in ((decayed, settings.weight_decay), (plain, 0.0))
        for for_words in (False, True)
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [group for group in groups if group["params"]],
            betas=(settings.adam_beta1, settings.adam_beta2),
            eps=settings.adam_epsilon,
            fused=True,
        )
    ]
    if matrices:
        groups = _muon_groups(module, matrices, settings)
        optimizers.append(Muon(groups, momentum=settings.muon_momentum))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group[PEAK] = group["lr"]
    return optimizers


def _muon_groups(module: nn.Module, matrices: list[nn.Parameter], settings: OptimizerSettings) -> list[dict[str, Any]]:
    """Matrices by learning rate.

    Muon's updates grow with rows over columns, which are outputs over inputs in a linear layer. GPT's `Conv1D` keeps
    its matrix the other way round, and its rate makes up for that.
    """
    turned = {id(part.weight) for part in module.modules() if isinstance(part, Conv1D)}
    by_factor: dict[float, list[nn.Parameter]] = {}
    for matrix in matrices:
        rows, columns = matrix.shape
        by_factor.setdefault(math.sqrt(columns / rows) if id(matrix) in turned else 1.0, []).append(matrix)
    return [
        {
            "params": params,
            "lr": settings.muon_learning_rate * factor,
            # Decay is per unit of learning rate, and Muon's is another one than AdamW's.
            "weight_decay": settings.weight_decay * settings.learning_rate / (settings.muon_learning_rate * factor),
        }
        for factor, params in by_factor.items()
    ]


def _word_matrices(module: nn.Module) -> set[int]:
    """Ids of the word vectors and output matrices in `module`."""
    models = [part for part in module.modules() if isinstance(part, EmbeddingAccessMixin)]
    layers = [layer for part in models for layer in (part.get_input_embeddings(), part.get_output_embeddings())]
    return {id(layer.weight) for layer in layers if layer is not None}


def _sorted_parameters(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """Hidden matrices, other decayed weights, and the rest, each parameter once."""
    embeddings: set[int] = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    heads = {
        id(head.weight)
        for part in module.modules()
        if isinstance(part, EmbeddingAccessMixin) and (head := part.get_output_embeddings()) is not None
    }
    linear = {id(part.weight) for part in module.modules() if isinstance(part, DECAYED_TYPES)}
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for parameter in module.parameters():  # shared ones come once
        if not parameter.requires_grad:
            continue
        if id(parameter) not in linear - embeddings:
            plain.append(parameter)
        elif parameter.ndim == 2 and id(parameter) not in heads:
            matrices.append(parameter)
        else:
            others.append(parameter)
    return matrices, others, plain


class LearningRate:
    """Sets the learning rate of all parameter groups: the peak times a factor that is a function of progress."""

    def __init__(self, optimizers: list[torch.optim.Optimizer], settings: OptimizerSettings, steps: int | None) -> None:
        self.optimizers = optimizers
        warmup = settings.warmup_steps
        if warmup >= 1:
            if steps is None:
                raise ConfigError(
                    where="warmup_steps",
                    expected="a fraction of the budget, since --max_minutes does not fix the number of steps",
                    found=f"{warmup:g} steps",
                    do="give a number below 1",
                )
            warmup = min(1.0, warmup / steps)
        # The curves are get_scheduler's; one made over a million steps can be asked at any progress.
        stand_in = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        decay = {"num_decay_steps": int(settings.decay_fraction * RESOLUTION)}
        specific = decay if settings.lr_scheduler_type == "warmup_stable_decay" else None
        name = "constant_with_warmup" if settings.lr_scheduler_type == "constant" else settings.lr_scheduler_type
        schedule = get_scheduler(name, stand_in, int(warmup * RESOLUTION), RESOLUTION, specific)
        self._factor = schedule.lr_lambdas[0]

    def factor(self, progress: float) -> float:
        return float(self._factor(int(progress * RESOLUTION)))

    def set(self, progress: float) -> float:
        """Set the rates for `progress` in [0, 1] and return that of AdamW."""
        factor = self.factor(progress)
        for optimizer in self.optimizers:  # loading a state replaces the groups, so they are looked up each time
            for group in optimizer.param_groups:
                group["lr"] = group[PEAK] * factor
        return float(self.optimizers[0].param_groups[0]["lr"])
