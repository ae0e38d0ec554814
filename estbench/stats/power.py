"""Power: the smallest difference that tests over seeds can be expected to find, and the seeds for a smaller one."""

import math

import numpy as np
from scipy import special

from estbench.stats.intervals import LEVEL, Floats

POWER = 0.8
MOST_SEEDS = 1000


def visible_difference(deviation: float, seeds: int, others: int, power: float = POWER) -> float:
    """The smallest true difference between an estimator and the best that is found in most repetitions of a run.

    It is that of two estimators of which no third one is close: by Student's paired test, corrected for all comparisons
    with the best as in ``best_of_paired``. If others are close to the best too, larger differences are needed.

    Args:
        deviation: standard deviation of the paired differences over seeds.
        seeds: how many there are.
        others: how many estimators are compared with the best.
        power: the share of repetitions in which the difference is found.

    Returns:
        The difference; infinite for fewer than two seeds.
    """
    if seeds < 2:
        return math.inf
    bound = float(special.stdtrit(seeds - 1, 1 - (1 - LEVEL) / (2 * max(others, 1))))
    # the noncentrality at which Student's statistic is beyond the bound with this probability
    low, high = 0.0, 10 * bound
    for _ in range(60):
        middle = (low + high) / 2
        found = 1 - float(special.nctdtr(seeds - 1, middle, bound))
        low, high = (low, middle) if found >= power else (middle, high)
    return high * deviation / math.sqrt(seeds)


def seeds_to_see(difference: float, deviation: float, others: int, power: float = POWER) -> int | None:
    """The number of seeds with which such a difference is found in most repetitions; None if above 1,000."""
    low, high = 1, 2
    while visible_difference(deviation, high, others, power) > difference:
        low, high = high, 2 * high
        if low >= MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        enough = visible_difference(deviation, middle, others, power) <= difference
        low, high = (low, middle) if enough else (middle, high)
    return high


def pooled_deviation(runs: Floats) -> float:
    """The standard deviation of paired differences over seeds, as a root mean square over all pairs; NaN if unknown.

    Args:
        runs: values ``(seeds, estimators)``, NaN where a run is missing.
    """
    first, second = np.triu_indices(runs.shape[1], 1)
    differences = runs[:, first] - runs[:, second]
    n = (~np.isnan(differences)).sum(0)
    kept = differences[:, n > 1]
    return float(np.sqrt(np.mean(np.nanvar(kept, 0, ddof=1)))) if kept.shape[1] else math.nan
