"""What a step reads from the device: each number under its name."""

import math

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from hfrep.objectives.base import Objective
from hfrep.objectives.supervised import AsTensors
from hfrep.training.step import Gradient


class TwoTerms(Objective):
    """Totals of two terms, which are the weights times the batch; the second counts twice its rows."""

    def __init__(self):
        super().__init__()
        self.weights = {"one": 1.0, "two": 0.5}
        self.scale = nn.Parameter(torch.tensor([2.0, 3.0]))

    def collator(self):
        return AsTensors()

    def forward(self, batch):
        return {name: (self.scale[place] * batch["x"]).sum() for place, name in enumerate(self.weights)}

    def counts(self, batch):
        rows = len(batch["x"])
        return {"one": rows, "two": 2 * rows}


@pytest.fixture
def gradient():
    accelerator, objective = Accelerator(cpu=True), TwoTerms()
    return Gradient(accelerator, objective, objective, max_grad_norm=0.1)


def batch(*values):
    return {"x": torch.tensor(values), "counted": torch.tensor(1.0)}


def test_numbers_of_a_step(gradient):
    """Totals 2 · 6 and 3 · 6, counts 3 and 6; the gradient is 6 / 3 and half of 6 / 6, before it is limited."""
    sums = gradient.accumulate([batch(1.0, 2.0), batch(3.0)], signals=[7.0, 8.0])
    assert sums.totals == {"one": 12.0, "two": 18.0}
    assert sums.counts == {"one": 3.0, "two": 6.0}
    assert sums.signals == [7.0, 8.0]
    assert sums.gradient_norm == pytest.approx(math.hypot(2.0, 0.5))
    assert sums.suspects == []
    assert gradient.objective.scale.grad.norm().item() == pytest.approx(0.1, rel=1e-4)


def test_the_micro_batch_that_is_not_finite_is_named(gradient):
    sums = gradient.accumulate([batch(1.0), batch(float("inf")), batch(2.0)], signals=[0.0])
    assert sums.suspects == [1]
    assert math.isinf(sums.totals["one"])
    assert sums.counts == {"one": 3.0, "two": 6.0}
