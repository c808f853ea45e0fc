"""Split-proof: however a global batch is divided, the run is the same."""

import pytest
import tiny
from conftest import documents

from hfrep.objectives import OBJECTIVES


def test_every_objective_is_tested():
    """What the registry names, this file and those beside it run."""
    assert set(tiny.OBJECTIVES) == set(OBJECTIVES)


@pytest.mark.parametrize("objective", tiny.OBJECTIVES)
def test_micro_batches_do_not_change_the_run(wordpiece, tmp_path, objective):
    """1 × 32 ≡ 4 × 8 ≡ 32 × 1 ≡ uneven 7: losses of every step to 1e-5, though rows differ in targets (D1)."""
    rows = tiny.blocks(documents(120), wordpiece, tmp_path, causal=objective == "clm")
    runs = {
        size: tiny.train(
            tmp_path / str(size), rows, wordpiece, objective=objective, steps=4, per_device_train_batch_size=size
        )[1]
        for size in (32, 8, 7, 1)
    }
    assert len(runs[32]) == 4
    for size, losses in runs.items():
        assert losses == pytest.approx(runs[32], rel=1e-5), size
