"""How sure a share is: Wilson's interval (1927), which stays inside [0, 1] and has a width where all come out alike."""

import math
from statistics import NormalDist

DEVIATIONS = NormalDist().inv_cdf(0.975)  # of a normal distribution, that hold 95 % of it


def wilson(share: float, number: float) -> tuple[float, float]:
    """Limits of the 95 % interval of a `share` found on `number` independent trials."""
    squared = DEVIATIONS**2 / number
    middle = (share + squared / 2) / (1 + squared)
    half = math.sqrt(squared * (share * (1 - share) + squared / 4)) / (1 + squared)
    return max(0.0, middle - half), min(1.0, middle + half)
