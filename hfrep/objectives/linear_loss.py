"""Cross-entropy of a linear layer over a vocabulary, without ever holding the logits of all positions.

With n positions, width H and a vocabulary of V words, the logits [n, V] are by far the largest tensor of a small
language model: 500 MB for 4,096 positions and 30,522 words in float32, and three of them live in a backward pass. Here
positions are taken in chunks. The gradient of a sum of losses is known before any backward pass, up to the number it is
multiplied with: softmax less one-hot, times the other factor of the product. So each chunk's logits are turned into
gradients of hidden states, weight and bias at once, in one buffer of chunk × V, and the backward pass only multiplies.
Nothing is computed twice: the three matrix products are those of the dense computation. The idea is that of Wijmans et
al. 2024 ("Cut your losses in large-vocabulary language models") and of Liger-Kernel (Hsu et al. 2024), on plain matrix
products.

Since gradients are made in the forward pass, second derivatives are not available.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hfrep.objectives.base import IGNORED

CHUNK_STEP = 64  # positions
# Logits at a time: 256 positions of 30,522 words, or 1,024 of 8,192. On a CPU the time is flat from 128 positions on,
# and this many fit in its last cache. Accelerators want larger products to be busy.
CHUNK_LOGITS, CHUNK_LOGITS_ON_ACCELERATORS = 1 << 23, 1 << 26

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, *, count_correct: bool = False
) -> tuple[Tensor, Tensor]:
    """Sum over positions of ``-log softmax(hidden @ weight.T + bias)[label]``, in nats.

    Products are computed in the dtype of `weight`, or in autocast's where that is on; softmax, sums over the vocabulary
    and gradients are added up in float32 (float64 for float64). Gradients that nobody asks for are not made.

    Args:
        hidden: [n, H].
        weight: [V, H].
        bias: [V] or None.
        labels: int64 [n], -100 where a position has no target: it then adds nothing, but costs what others cost.
        count_correct: whether to count how often the label has the highest logit.

    Returns:
        the sum, and how many were right (0 if not asked for): scalars in float32 (float64 for float64).
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    wanted = tuple(
        tensor is not None and tensor.requires_grad and torch.is_grad_enabled() for tensor in (hidden, weight, bias)
    )
    function: Any = _LinearCrossEntropy  # torch leaves `apply` untyped
    sums: tuple[Tensor, Tensor] = function.apply(hidden, weight, bias, labels, dtype, wanted, count_correct)
    return sums


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        dtype: torch.dtype,
        wanted: tuple[bool, bool, bool],
        count_correct: bool,
    ) -> tuple[Tensor, Tensor]:
        total, correct, gradients = _chunked(hidden, weight, bias, labels, dtype, wanted, count_correct)
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(correct)
        return total, correct

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        scaled = [None if gradient is None else gradient * scale.to(gradient) for gradient in ctx.saved_tensors]
        return (*scaled, None, None, None, None)


def chunk_positions(vocabulary: int, device: str) -> int:
    """How many positions are taken at a time."""
    logits = CHUNK_LOGITS if device == "cpu" else CHUNK_LOGITS_ON_ACCELERATORS
    return max(1, logits // vocabulary // CHUNK_STEP) * CHUNK_STEP


def _chunked(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    dtype: torch.dtype,
    wanted: tuple[bool, bool, bool],
    count_correct: bool,
) -> tuple[Tensor, Tensor, Gradients]:
    """The sum, how many were right, and the gradients of the sum by hidden states, weight and bias."""
    number, vocabulary = len(hidden), len(weight)
    assert len(labels) == number, f"{len(labels)} labels for {number} positions"
    exact = torch.promote_types(weight.dtype, torch.float32)
    size = min(chunk_positions(vocabulary, hidden.device.type), max(1, number))
    buffer = torch.empty(size, vocabulary, dtype=exact, device=hidden.device)
    total, correct = (torch.zeros((), dtype=exact, device=hidden.device) for _ in range(2))
    by_hidden = torch.empty_like(hidden, dtype=exact) if wanted[0] else None
    by_weight = torch.zeros_like(weight, dtype=exact) if wanted[1] else None
    by_bias = torch.zeros_like(bias, dtype=exact) if bias is not None and wanted[2] else None
    factor, offset = weight.to(dtype), None if bias is None else bias.to(dtype)
    for start in range(0, number, size):
        inputs, label = hidden[start : start + size].to(dtype), labels[start : start + size, None]
        counted = (label != IGNORED).to(exact)
        label = label.clamp(min=0)
        logits = _project(inputs, factor, offset, buffer[: len(inputs)])
        if count_correct:
            correct += ((logits.argmax(-1, keepdim=True) == label) * counted).sum()
        # Where all words are alike the exponentials add up to √V, and nowhere are they above 1/√V: float16 holds both.
        logits -= logits.amax(-1, keepdim=True) + math.log(vocabulary) / 2
        scores = logits.gather(1, label)
        exponentials = logits.exp_()
        sums = exponentials.sum(-1, keepdim=True)
        total += ((sums.log() - scores) * counted).sum()
        if not any(wanted):
            continue
        # Softmax less one-hot is what stands here divided by the sums: cheaper done to the small factor of a product.
        difference = exponentials.scatter_add_(1, label, -sums)
        share = counted / sums
        rounded = difference.to(dtype)
        if by_hidden is not None:
            torch.mul((rounded @ factor).to(exact), share, out=by_hidden[start : start + size])
        if by_weight is not None:
            _add_product(by_weight, rounded.t(), (inputs.to(exact) * share).to(dtype))
        if by_bias is not None:
            by_bias += (difference.t() @ share)[:, 0]
    gradients = (
        None if by_hidden is None else by_hidden.to(hidden.dtype),
        None if by_weight is None else by_weight.to(weight.dtype),
        None if bias is None or by_bias is None else by_bias.to(bias.dtype),
    )
    return total, correct, gradients


def _project(inputs: Tensor, factor: Tensor, offset: Tensor | None, buffer: Tensor) -> Tensor:
    """Logits of a chunk, in `buffer`."""
    if inputs.dtype != buffer.dtype:
        return buffer.copy_(torch.nn.functional.linear(inputs, factor, offset))
    if offset is None:
        return torch.mm(inputs, factor.t(), out=buffer)
    return torch.addmm(offset, inputs, factor.t(), out=buffer)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right
