"""Peak memory of a piece of work."""

import numpy as np
import pytest
import torch

from hfrep.training.memory import CLEAR, PeakMemory


@pytest.mark.skipif(not CLEAR.exists(), reason="the system does not tell peaks of a process")
def test_the_peak_is_that_of_the_work_alone():
    """What was taken and given back inside counts, what was there before or taken by an earlier work does not."""
    cpu = torch.device("cpu")
    with PeakMemory(cpu) as large:
        np.ones(40_000_000)  # 320 MB
    with PeakMemory(cpu) as small:
        np.ones(1_000_000)
    assert large.bytes > 300e6
    assert small.bytes < 100e6


@pytest.mark.skipif(not CLEAR.exists(), reason="the system does not tell peaks of a process")
def test_one_measurement_within_another():
    """The inner one sets the system's peak back, and the outer one still knows of what came before."""
    cpu = torch.device("cpu")
    with PeakMemory(cpu) as outer:
        np.ones(40_000_000)  # 320 MB
        with PeakMemory(cpu) as inner:
            np.ones(1_000_000)
    assert inner.bytes < 100e6
    assert outer.bytes > 300e6
