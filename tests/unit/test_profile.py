"""The table of operators counts what a step calls, and leaves out what was before it."""

import torch

from hfrep.training.profile import STEPS, WARM_UP, step_profile


def test_calls_of_one_step():
    steps = []

    def step() -> None:
        steps.append(1)
        matrix = torch.ones(64, 64)
        (matrix @ matrix).exp().exp()

    table = step_profile(step, torch.device("cpu"))
    assert len(steps) == WARM_UP + STEPS
    calls = {line.split()[0]: line.split()[1] for line in table.splitlines()[1:] if line.startswith("aten::")}
    assert (calls["aten::mm"], calls["aten::exp"], calls["aten::fill_"]) == ("1", "2", "1")
    assert table.splitlines()[0].startswith("operator")
    assert table.splitlines()[-1].startswith("between operators")
