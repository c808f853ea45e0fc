"""A loss that is not finite stops the run, says where, and leaves the last good checkpoint."""

import re

import numpy as np
import pytest
import tiny
from conftest import documents

from hfrep.data.order import order_of
from hfrep.errors import TrainingError
from hfrep.training.checkpoint import read_state

BROKEN_STEP = 4


@pytest.fixture(scope="module")
def rows(wordpiece, tmp_path_factory):
    return tiny.blocks(documents(30), wordpiece, tmp_path_factory.mktemp("blocks"))


def spoil(module):
    """What an evaluation after a step does to the weights: the next step's loss is not a number."""
    next(module.parameters()).data.fill_(float("nan"))
    return {}


def test_the_message_names_the_rows_and_the_checkpoint_that_stands(rows, wordpiece, tmp_path):
    """The fourth step's loss is not a number: its row ids are listed, and step-2 is complete."""
    with pytest.raises(TrainingError, match="expected a finite loss and gradient, found totals") as told:
        tiny.train(tmp_path / "run", rows, wordpiece, train_batch_size=4, save_steps=2, eval_steps=3, evaluate=spoil)
    assert f"step {BROKEN_STEP}: " in str(told.value)
    listed = re.search(r"training rows ([\d, ]+)\)", str(told.value)).group(1).split(", ")
    _, expected = order_of([len(rows)], None, seed=0)(np.arange(4 * (BROKEN_STEP - 1), 4 * BROKEN_STEP))
    assert list(map(int, listed)) == expected.tolist()
    assert "lower --learning_rate or raise --warmup_steps; step-2 is kept." in str(told.value)
    assert read_state(tmp_path / "run" / "checkpoints" / "step-2").step == 2


def test_without_a_checkpoint_it_says_so(rows, wordpiece, tmp_path):
    """A rate that throws the weights out of range before the first save leaves no checkpoint, and says so."""
    with pytest.raises(TrainingError, match="no checkpoint is kept"):
        tiny.train(tmp_path / "run", rows, wordpiece, optimizer="adamw", learning_rate=1e38, warmup_steps=0)
