"""Welch's test: whether two independent means differ, each with a spread of its own."""

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from estbench.stats.intervals import Floats


class Centre(NamedTuple):
    """A mean.

    Args:
        value: of the mean.
        error: its standard error.
        freedom: degrees of freedom of that; infinite where it is known.
    """

    value: float
    error: float
    freedom: float


def trimmed_mean(sample: Floats, share: float) -> Centre:
    """The mean without this share of the sample at either end, rounded down; its error by the winsorised variance.

    Reference: Yuen (1974), https://doi.org/10.1093/biomet/61.1.165
    """
    ordered, n = np.sort(sample), len(sample)
    cut = int(share * n)
    kept = n - 2 * cut
    spread = float(np.var(np.clip(ordered, ordered[cut], ordered[n - 1 - cut]), ddof=1))
    return Centre(float(ordered[cut : n - cut].mean()), (spread * (n - 1) / kept / (kept - 1)) ** 0.5, kept - 1)


def welch(one: Centre, other: Centre) -> float:
    """The p-value of Welch's test; without any spread, what differs by more than rounding differs for certain.

    Reference: Welch (1947), https://doi.org/10.1093/biomet/34.1-2.28
    """
    error, gap = math.hypot(one.error, other.error), abs(one.value - other.value)
    if error <= 1e-12 * max(1.0, gap):
        return 0.0 if gap > 1e-9 else 1.0
    lost = sum(centre.error**4 / centre.freedom for centre in (one, other))
    return float(2 * special.stdtr(error**4 / lost if lost else math.inf, -gap / error))
