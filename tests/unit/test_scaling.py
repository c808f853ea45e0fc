"""The compute-optimal line against hand computation, the sentence with its source, and the stopwatch."""

import re

import pytest

from hfrep.errors import ConfigError
from hfrep.models import scaling
from hfrep.models.scaling import ScalingSettings, budget_advice, compute_optimal, rounded, tokens_per_second
from hfrep.models.sizing import parse_parameters
from hfrep.settings import parse


def test_by_hand():
    """2e9 FLOP/s for 10 minutes are 1.2e12 = 6 · 100,000 · 2,000,000: a hundred thousand parameters, 20 tokens each."""
    assert compute_optimal(2e9, 10) == pytest.approx((1e5, 2e6))


def test_chinchilla():
    """Gopher's 5.76e23 FLOP come to about 70 billion parameters and 1.4 trillion tokens (Hoffmann et al. 2022)."""
    parameters, tokens = compute_optimal(5.76e23 / 60, 1)
    assert parameters == pytest.approx(70e9, rel=0.02)
    assert tokens == pytest.approx(1.4e12, rel=0.02)


def test_four_times_the_time_is_twice_the_size():
    """Both grow with the root of the compute."""
    (small, few), (large, many) = compute_optimal(1e11, 5), compute_optimal(1e11, 20)
    assert (large / small, many / few) == pytest.approx((2, 2))


def test_sentence():
    """3,000 tokens/s at 10 million parameters are 1.8e11 FLOP/s; 30 minutes of it are 3.24e14 = 120 · 1.643e6²."""
    assert budget_advice(3000.4, parameters=10_000_000, minutes=30) == (
        "30 minutes at 3,000 tokens/s with 10,000,000 parameters (1.8e+11 FLOP/s by C = 6 N D) are best spent on about "
        "1.6M parameters and 33M tokens, 20 a parameter (Hoffmann et al. 2022); speed changes with size, so measure "
        "again with --parameters 1.6M"
    )


def test_no_minutes():
    """Without minutes there is nothing to spend."""
    sentence = "--budget_advice: expected minutes to spend, found no --max_minutes; add --max_minutes 30."
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        budget_advice(1000, parameters=10**6, minutes=None)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.643e6, "1.6M"),
        (999_900, "1M"),
        (994_000, "990K"),
        (12_345, "12K"),
        (7e10, "70B"),
        (750e6, "750M"),
        (640, "640"),
    ],
)
def test_advised_size_is_one_that_the_dial_takes(number, text):
    """What the sentence says can be given to --parameters."""
    assert rounded(number) == text
    assert parse_parameters(text) == pytest.approx(number, rel=0.05)


def test_speed_leaves_out_the_first_step(monkeypatch):
    """The first step warms up; of the others the median counts, so hiccups do not."""
    clock, costs = [0.0], iter([100.0, 9.0, 9.0, 2.0, 2.0, 2.0])
    monkeypatch.setattr(scaling.time, "perf_counter", lambda: clock[0])

    def step():
        clock[0] += next(costs)
        return 4096

    assert tokens_per_second(step) == 2048


def test_flag():
    """Off unless asked for."""
    assert parse(ScalingSettings, argv=[])[0].budget_advice is False
    assert parse(ScalingSettings, argv=["--budget_advice"])[0].budget_advice is True
