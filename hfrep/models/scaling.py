"""How large a model the time at hand is worth: the compute-optimal line.

Training costs about C = 6 N D floating-point operations for N parameters and D tokens (Kaplan et al. 2020, "Scaling
laws for neural language models", section 2.1), and the loss for a given C is lowest near D = 20 N (Hoffmann et al.
2022, "Training compute-optimal large language models", table 3), so that C = 120 N². N counts all parameters, as there.

Two reasons to read the advice as a place to start from: the line was measured between 70 million and 16 billion
parameters, and a machine does another number of operations a second at another size.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from hfrep.errors import ConfigError
from hfrep.settings import setting

OPERATIONS = 6  # per parameter and token: two forward, four backward
TOKENS_PER_PARAMETER = 20


@dataclass(frozen=True, kw_only=True)
class ScalingSettings:
    budget_advice: bool = setting(
        False,
        "time a few steps, print which size and how many tokens --max_minutes are best spent on, and stop",
        kind="operation",
    )


def compute_optimal(flops_per_second: float, minutes: float) -> tuple[float, float]:
    """The parameters and tokens that `minutes` of training at this speed are best spent on."""
    flops = flops_per_second * 60 * minutes
    parameters = (flops / (OPERATIONS * TOKENS_PER_PARAMETER)) ** 0.5
    return parameters, TOKENS_PER_PARAMETER * parameters


def tokens_per_second(step: Callable[[], int], *, steps: int = 5) -> float:
    """The speed of `step`, which trains once and returns its tokens: the median of `steps` calls after a first one."""
    step()
    speeds = []
    for _ in range(steps):
        before = time.perf_counter()
        tokens = step()
        speeds.append(tokens / (time.perf_counter() - before))
    return statistics.median(speeds)


def budget_advice(speed: float, *, parameters: int, minutes: float | None) -> str:
    """The advice as a sentence with its source.

    Args:
        speed: tokens per second of training, measured.
        parameters: of the model it was measured on.
        minutes: of training, as --max_minutes gives them.

    Raises:
        ConfigError: no minutes.
    """
    if minutes is None:
        raise ConfigError(
            where="--budget_advice",
            expected="minutes to spend",
            found="no --max_minutes",
            do="add --max_minutes 30",
        )
    flops_per_second = OPERATIONS * parameters * speed
    best, tokens = compute_optimal(flops_per_second, minutes)
    size = rounded(best)
    return (
        f"{minutes:g} minutes at {speed:,.0f} tokens/s with {parameters:,} parameters ({flops_per_second:.2g} FLOP/s "
        f"by C = 6 N D) are best spent on about {size} parameters and {rounded(tokens)} tokens, 20 a parameter "
        f"(Hoffmann et al. 2022); speed changes with size, so measure again with --parameters {size}"
    )


def rounded(number: float) -> str:
    """Two significant digits, as --parameters takes them: 8.4M."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if number >= size * 0.995:
            scaled = float(f"{number / size:.2g}")
            return f"{scaled:g}{unit}"
    return f"{number:.0f}"
