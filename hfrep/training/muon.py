"""Muon in a precision that the device is fast in, matrices of one shape at a time.

`torch.optim.Muon` (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks") orthogonalizes each
matrix by itself in bfloat16. A CPU without instructions for it computes that many times slower than float32, so that
the optimizer takes longer than the model. Here CPUs compute in the matrices' own precision, and matrices of one shape
go through together. What is computed is the same.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

MOST_STEPS_BY_GRAM = 5  # rounding grows twelvefold with each
AT_A_TIME = 1 << 24  # numbers of matrices that go through together: of each, a few copies are held


class Muon(torch.optim.Muon):
    """`torch.optim.Muon` with its arguments and its state; ``adjust_lr_fn="original"`` and Nesterov's momentum."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update every parameter that has a gradient; what `closure` returns, if one is given."""
        with torch.enable_grad():
            loss = None if closure is None else closure()
        for group in self.param_groups:
            for parameters in _by_shape(group["params"]):
                number = max(1, AT_A_TIME // parameters[0].numel())
                for first in range(0, len(parameters), number):
                    self._update(parameters[first : first + number], group)
        return loss

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Move `parameters` [m, n], which are of one shape up to a transposition."""
        directions = orthogonalized(
            torch.stack([_wide(self._momentum(parameter, group["momentum"])) for parameter in parameters]),
            coefficients=group["ns_coefficients"],
            steps=group["ns_steps"],
            epsilon=group["eps"],
        )
        for parameter, direction in zip(parameters, directions, strict=True):
            rows, columns = parameter.shape
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            update = direction if rows <= columns else direction.T
            parameter.add_(update, alpha=-group["lr"] * max(1, rows / columns) ** 0.5)

    def _momentum(self, parameter: Tensor, decay: float) -> Tensor:
        """The mean of past gradients, looked at from where the next step leads (Nesterov)."""
        assert parameter.grad is not None
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter.grad)
        mean: Tensor = state["momentum_buffer"]
        mean.lerp_(parameter.grad, 1 - decay)
        return parameter.grad.lerp(mean, decay)


def orthogonalized(matrices: Tensor, *, coefficients: tuple[float, float, float], steps: int, epsilon: float) -> Tensor:
    """About the nearest orthogonal matrix to each of `matrices` [b, m, n] with m ≤ n, by Newton and Schulz's iteration.

    Singular values come out between about 0.5 and 1.5, not at 1: the coefficients are chosen to bring small ones there
    in few steps.
    """
    on_cpu = matrices.device.type == "cpu"
    # Tensor cores are fast in bfloat16, of which the iteration needs no more; CPUs without it are not.
    x = matrices if on_cpu else matrices.bfloat16()
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=epsilon)
    rows, columns = x.shape[-2:]
    exact = x.dtype in (torch.float32, torch.float64) and steps <= MOST_STEPS_BY_GRAM
    iterate = _iterated_by_gram if exact and columns >= 2 * rows else _iterated
    return iterate(x, coefficients, steps).to(matrices.dtype)


def _iterated(x: Tensor, coefficients: tuple[float, float, float], steps: int) -> Tensor:
    """`x` [b, m, n] after so many times x ← (a + b · x xᵀ + c · (x xᵀ)²) x."""
    first, second, third = coefficients
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=second, alpha=third), x, beta=first)
    return x


def _iterated_by_gram(x: Tensor, coefficients: tuple[float, float, float], steps: int) -> Tensor:
    """The same on [b, m, m] alone, which is less work for wide matrices.

    With g = x xᵀ, a step multiplies x by p(g) from the left, and so g by p(g) from both sides: the product of all p(g)
    meets x once, at the end. Singular values below 1e-3 of the largest lose digits: a few of float32's, after five
    steps, and all of bfloat16's.
    """
    first, second, third = coefficients
    gram = x @ x.mT
    factor: Tensor | None = None
    for step in range(steps):
        polynomial = torch.baddbmm(gram, gram, gram, beta=second, alpha=third)
        polynomial.diagonal(dim1=-2, dim2=-1).add_(first)
        factor = polynomial if factor is None else polynomial @ factor
        if step < steps - 1:
            gram = polynomial @ gram @ polynomial
    return x if factor is None else factor @ x


def _by_shape(parameters: Iterable[Tensor]) -> Iterable[list[Tensor]]:
    groups: dict[tuple[int, int], list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            rows, columns = parameter.shape
            groups.setdefault((min(rows, columns), max(rows, columns)), []).append(parameter)
    return groups.values()


def _wide(matrix: Tensor) -> Tensor:
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
