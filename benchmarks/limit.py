"""The limit of a machine: useful floating-point operations of a training step, and the rate of its matrix products.

Operations, a multiplication and an addition each counted as one:

- a linear layer of m inputs and n outputs: 2 · m · n a token forward, and twice that backward (gradients of its input
  and of its weight), so 6 for each weight that is applied to the token;
- the head, and of a masked model the feed-forward network of the last layer, at labelled positions only: what a class
  computes elsewhere is of no use;
- attention: scores and mixing take 4 · L · H a token and layer forward, 12 with the backward pass; half of it where a
  token sees only those before it.

Embeddings are looked up, and norms, activations and softmax are not counted, nor is what the optimizer does.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from comparison import Turn
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D
from where import CPU, Where

from hfrep.models.last_layer import feed_forward_entry


class Product(NamedTuple):
    """The matrix product of a linear layer: `tokens` rows through `inputs` × `outputs`, `number` times a step."""

    tokens: int
    inputs: int
    outputs: int
    number: int

    @property
    def operations(self) -> float:
        return 6.0 * self.tokens * self.inputs * self.outputs * self.number


class Work(NamedTuple):
    """A training step: the products of its linear layers, and the operations of its attention."""

    products: Sequence[Product]
    attention: float

    @property
    def operations(self) -> float:
        return sum(product.operations for product in self.products) + self.attention


def training_work(model: PreTrainedModel, *, rows: int, length: int, labelled: float, causal: bool) -> Work:
    """A step of `rows` × `length` tokens, of which a share `labelled` goes through the head."""
    counts: dict[tuple[int, int, int], int] = {}
    body = {id(module) for module in model.base_model.modules()}
    if not causal and (found := feed_forward_entry(model)) is not None:
        layer, _ = found
        body -= {id(module) for module in layer.modules()} - {id(module) for module in layer.attention.modules()}
    for module in model.modules():
        if isinstance(module, nn.Linear | Conv1D):
            inputs, outputs = module.weight.shape if isinstance(module, Conv1D) else module.weight.shape[::-1]
            tokens = rows * length if id(module) in body else round(rows * length * labelled)
            key = (tokens, inputs, outputs)
            counts[key] = counts.get(key, 0) + 1
    config = model.config
    attention = 12 * rows * length * length * config.hidden_size * config.num_hidden_layers / (2 if causal else 1)
    return Work([Product(*key, number) for key, number in counts.items()], attention)


class LimitSide:
    """The rate at which the products of `products` run by themselves, each at the best of several repetitions.

    A turn is that number of repetitions, and its units are operations.
    """

    def __init__(self, products: Sequence[Product], where: Where = CPU) -> None:
        self.where = where
        self.answers: dict[str, float] = {}

        def made(rows: int, columns: int) -> Tensor:
            return torch.randn(rows, columns, device=where.device, dtype=where.dtype)

        self.operands = [
            (
                product,
                made(product.tokens, product.inputs),
                made(product.outputs, product.inputs),
                made(product.tokens, product.outputs),
            )
            for product in products
        ]

    def turn(self, amount: int) -> Turn:
        seconds = 0.0
        for product, inputs, weight, gradient in self.operands:
            for left, right in ((inputs, weight.T), (gradient, weight), (gradient.T, inputs)):
                out = left @ right
                seconds += product.number * min(self._seconds(left, right, out) for _ in range(amount))
        return Turn(sum(product.operations for product, *_ in self.operands), seconds)

    def _seconds(self, left: Tensor, right: Tensor, out: Tensor) -> float:
        began = self.where.now()
        torch.mm(left, right, out=out)
        return self.where.now() - began
