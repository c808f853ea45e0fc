"""Linear heads on features that were computed once, many side by side: one for each layer and learning rate.

Features are standardized by their mean and deviation in the training rows, so that one grid of learning rates suits all
models and layers. A head starts at zero: its loss is convex, and no seed decides where it begins.

All heads train in one objective under one optimizer. AdamW moves each number by about its learning rate, whatever the
size of the gradient; so a head that computes ``factor * (w · x + b)`` learns at ``factor`` times the optimizer's rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hfrep.data.batches import Batch
from hfrep.objectives.supervised import Predictor

CONSTANT = 1e-5  # deviation of a feature, in parts of its mean or absolute, below which it is a constant


@dataclass(frozen=True)
class Head:
    """A candidate: which of the stored layers it reads, and its learning rate."""

    layer: int
    learning_rate: float


class LinearProbe(Predictor):
    """Linear heads over ``features`` float32 [b, layers, H].

    Args:
        heads: the candidates.
        base_rate: the optimizer's learning rate.
        mean, deviation: float32 [layers, H], of the training features.
        outputs: numbers each head gives.
        center: what a head that knows nothing gives: the mean of the targets where they are values.
    """

    layers: Tensor
    factors: Tensor
    mean: Tensor
    deviation: Tensor
    kept: nn.ParameterDict

    def __init__(
        self,
        heads: Sequence[Head],
        *,
        base_rate: float,
        mean: NDArray[np.float32],
        deviation: NDArray[np.float32],
        outputs: int,
        regression: bool,
        center: float = 0.0,
    ) -> None:
        super().__init__(regression=regression)
        self.center = center
        layers = torch.tensor([head.layer for head in heads])
        self.register_buffer("layers", layers)
        self.register_buffer("factors", torch.tensor([head.learning_rate / base_rate for head in heads]))
        self.register_buffer("mean", torch.from_numpy(mean)[layers])
        # Divided by infinity a constant is nothing, in the scores and in the folded weights.
        varies = deviation > CONSTANT * np.maximum(np.abs(mean), 1.0)
        self.register_buffer("deviation", torch.from_numpy(np.where(varies, deviation, np.float32(np.inf)))[layers])
        weight, bias = torch.zeros(len(heads), mean.shape[1], outputs), torch.zeros(len(heads), 1, outputs)
        self.kept = nn.ParameterDict({"weight": weight, "bias": bias})

    def logits(self, batch: Batch) -> Tensor:
        features = batch["features"].transpose(0, 1)[self.layers]
        standard = (features - self.mean[:, None]) / self.deviation[:, None]
        scores = torch.baddbmm(self.kept["bias"], standard, self.kept["weight"])
        return (scores * self.factors[:, None, None] + self.center).transpose(0, 1)

    def folded(self, number: int) -> tuple[Tensor, Tensor]:
        """Weight [outputs, H] and bias [outputs] of a head, for features as they are, not standardized."""
        factor = self.factors[number].double()
        weight = (self.kept["weight"][number].detach().double() * factor / self.deviation[number][:, None]).T
        bias = self.kept["bias"][number, 0].detach().double() * factor - weight @ self.mean[number].double()
        return weight.float().contiguous(), (bias + self.center).float()
