"""Intervals and tests. Intervals are of 95 % unless ``level`` says otherwise."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Floats: TypeAlias = NDArray[np.float64]
LEVEL = 0.95


class Interval(NamedTuple):
    """A figure with the interval that holds the true one."""

    value: float
    low: float
    high: float


def mean_interval(sample: Floats, level: float = LEVEL) -> Interval:
    """Mean with Student's interval; without one where there are fewer than two values."""
    value = float(np.mean(sample))
    if len(sample) < 2:
        return Interval(value, float("nan"), float("nan"))
    error = float(np.std(sample, ddof=1)) / len(sample) ** 0.5
    return _student(value, error, len(sample) - 1, level)


def median_interval(sample: Floats, level: float = LEVEL) -> Interval:
    """Median with the distribution-free interval between order statistics.

    Too few values for the level (fewer than 6 for 95 %) give the range of the sample.
    """
    ordered = np.sort(sample)
    n = len(ordered)
    # the largest rank whose binomial tail is at most half of what may be missed
    rank = int(stats.binom.ppf((1 - level) / 2, n, 0.5))
    rank = max(rank - (stats.binom.cdf(rank - 1, n, 0.5) > (1 - level) / 2), 1)
    return Interval(float(np.median(ordered)), float(ordered[rank - 1]), float(ordered[n - rank]))


def jackknife(statistic: Callable[[Floats], float], batches: int, level: float = LEVEL) -> Interval:
    """A statistic of independent batches with Student's interval by leaving out one batch at a time.

    Args:
        statistic: maps weights ``(batches,)`` of 0 and 1, the batches to use, to a figure.
        batches: how many there are.
        level: probability that the interval holds the truth.
    """
    everything = np.ones(batches)
    value = statistic(everything)
    without = np.array([statistic(everything - unit) for unit in np.eye(batches)])
    error = ((batches - 1) / batches * np.sum((without - without.mean()) ** 2)) ** 0.5
    return _student(value, float(error), batches - 1, level)


def _student(value: float, error: float, freedom: int, level: float) -> Interval:
    margin = float(special.stdtrit(freedom, (1 + level) / 2)) * error
    return Interval(value, value - margin, value + margin)
