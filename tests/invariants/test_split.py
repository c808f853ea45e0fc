"""Split-proof: however a global batch is divided, the run is the same."""

import pytest
import tiny
from conftest import documents


@pytest.fixture(scope="module")
def rows(wordpiece, tmp_path_factory):
    return tiny.blocks(documents(120), wordpiece, tmp_path_factory.mktemp("blocks"))


@pytest.mark.parametrize("objective", tiny.OBJECTIVES)
def test_micro_batches_do_not_change_the_run(rows, wordpiece, tmp_path, objective):
    """1 × 32 ≡ 4 × 8 ≡ 32 × 1 ≡ uneven 7: losses of every step to 1e-5, though masks differ in number per row (D1)."""
    runs = {
        size: tiny.train(
            tmp_path / str(size), rows, wordpiece, objective=objective, steps=4, per_device_train_batch_size=size
        )[1]
        for size in (32, 8, 7, 1)
    }
    assert len(runs[32]) == 4
    for size, losses in runs.items():
        assert losses == pytest.approx(runs[32], rel=1e-5), size
