"""Our Muon against torch's, which orthogonalizes one matrix at a time in bfloat16."""

import math

import pytest
import torch
from torch import Tensor

from hfrep.training import muon
from hfrep.training.muon import Muon, orthogonalized

SHAPES = [(24, 24), (24, 24), (48, 24), (24, 48), (24, 36)]
COEFFICIENTS = {"coefficients": (3.4445, -4.7750, 2.0315), "steps": 5, "epsilon": 1e-7}


def trained(kind: type[torch.optim.Optimizer], shapes: list[tuple[int, int]]) -> list[Tensor]:
    """How far three steps with made-up gradients move matrices of zeros."""
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    parameters.append(torch.nn.Parameter(torch.ones(2, 2)))  # has no gradient
    optimizer = kind(parameters, lr=0.02, weight_decay=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for parameter in parameters[:-1]:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
    assert torch.equal(parameters[-1], torch.ones(2, 2))
    return [parameter.detach() for parameter in parameters[:-1]]


def test_steps_are_torchs() -> None:
    """Square, tall and wide matrices together move as torch's optimizer moves each, to bfloat16's precision."""
    for ours, theirs in zip(trained(Muon, SHAPES), trained(torch.optim.Muon, SHAPES), strict=True):
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_large_groups_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few numbers go through together, and at least one matrix does."""
    expected = trained(Muon, SHAPES)
    monkeypatch.setattr(muon, "AT_A_TIME", 1)
    torch.testing.assert_close(trained(Muon, SHAPES), expected, rtol=1e-4, atol=1e-6)


def test_matrices_do_not_mix() -> None:
    """A matrix moves by itself as it moves among others of its shape."""
    many = torch.randn(5, 12, 30, generator=torch.Generator().manual_seed(0))
    together = orthogonalized(many, **COEFFICIENTS)
    for matrix, made in zip(many, together, strict=True):
        torch.testing.assert_close(orthogonalized(matrix[None], **COEFFICIENTS)[0], made, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_singular_values_come_near_one(scale: float) -> None:
    """Directions stay, sizes go: U S Vᵀ becomes U S' Vᵀ with S' between 0.5 and 1.5, whatever the scale."""
    matrices = scale * torch.randn(3, 20, 30, generator=torch.Generator().manual_seed(1))
    u, _, vt = torch.linalg.svd(matrices, full_matrices=False)
    sizes = u.mT @ orthogonalized(matrices, **COEFFICIENTS) @ vt.mT
    diagonal = sizes.diagonal(dim1=1, dim2=2)
    assert diagonal.min() > 0.5
    assert diagonal.max() < 1.5
    assert (sizes - torch.diag_embed(diagonal)).abs().max() < 1e-4


def test_a_matrix_of_zeros_stays() -> None:
    """No gradient to follow: nothing is divided by nothing."""
    assert torch.equal(orthogonalized(torch.zeros(1, 4, 6), **COEFFICIENTS), torch.zeros(1, 4, 6))


@pytest.mark.parametrize(
    ("dtype", "steps", "tolerance"), [("float32", 5, 1e-3), ("float32", 9, 1e-2), ("bfloat16", 5, 0.4)]
)
@pytest.mark.parametrize("smallest", [1.0, 1e-2, 1e-6])
def test_wide_matrices_come_out_as_by_the_definition(smallest: float, dtype: str, steps: int, tolerance: float) -> None:
    """Done on x xᵀ or on x, the iteration gives what it gives on x in float64, also where sizes are far apart."""
    generator = torch.Generator().manual_seed(2)
    u, _, vt = torch.linalg.svd(torch.randn(2, 24, 96, dtype=torch.float64, generator=generator), full_matrices=False)
    matrices = (u * torch.logspace(0, math.log10(smallest), 24, dtype=torch.float64)) @ vt
    x = matrices / torch.linalg.matrix_norm(matrices, keepdim=True)
    first, second, third = COEFFICIENTS["coefficients"]
    for _ in range(steps):
        gram = x @ x.mT
        x = first * x + (second * gram + third * gram @ gram) @ x
    made = orthogonalized(matrices.to(getattr(torch, dtype)), **COEFFICIENTS | {"steps": steps})
    assert (made - x).norm() < tolerance * x.norm()
