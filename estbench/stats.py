"""Intervals and tests. Intervals are of 95 % unless ``level`` says otherwise."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats: TypeAlias = NDArray[np.float64]
LEVEL = 0.95
SIGNIFICANCE = 0.05


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
    from scipy import stats  # noqa: PLC0415  (slow)

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


def holm(p_values: Sequence[float] | Floats) -> list[float]:
    """Holm's adjustment; tests that could not be made (NaN) count for nothing."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)[: int(np.isfinite(p).sum())]
    adjusted = np.full(len(p), math.nan)
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


class SquaredNorm(NamedTuple):
    r"""The squared norm of a mean vector, from the Gram matrix of independent batches of noisy vectors.

    The figure is the U-statistic of degree two, whose pairs of different batches carry no squared noise. With
    :math:`\theta` the true squared norm its variance is :math:`v_0 + \kappa \theta`: noise times noise, and noise
    along the mean.

    Attributes:
        value: unbiased, so that it may come out negative.
        base: :math:`v_0`.
        slope: :math:`\kappa`.
        batches: how many there are.
        p: the p-value of a mean of zero, by Dempster's test: the squared norm of the mean over the trace of the
            covariance is distributed as F, whatever the number of dimensions.
    """

    value: float
    base: float
    slope: float
    batches: int
    p: float

    @classmethod
    def of(cls, gram: Floats) -> "SquaredNorm":
        """From inner products ``(batches, batches)``."""
        batches = len(gram)
        pairs = ~np.eye(batches, dtype=bool)
        centred = gram - gram.mean(0) - gram.mean(1)[:, None] + gram.mean()
        total = float(gram.mean())
        along = float(np.var(gram.mean(1), ddof=1)) / total if total > 0 else 0.0
        square = float(np.var(centred[pairs]))
        trace = float(np.trace(centred)) / (batches - 1)
        # how many dimensions of equal variance the noise is worth
        dimensions = max(trace**2 / square, 1.0) if square > 0 else 1.0
        p = float(special.fdtrc(dimensions, dimensions * (batches - 1), batches * total / trace)) if trace > 0 else 1.0
        base = 2 / (batches * (batches - 1)) * square
        return cls(float(gram[pairs].mean()), base, 4 * along / batches, batches, p)

    def interval(self, per: "SquaredNorm | None" = None, level: float = LEVEL) -> Interval:
        """The values that a score test does not reject; of the ratio to another squared norm, if one is given.

        An interval of the figure plus and minus its error would miss small values in few dimensions.
        """
        unit = per.value if per else 1.0
        if not unit > 0:
            return Interval(math.nan, math.nan, math.nan)
        quantile = float(special.stdtrit(self.batches - 1, (1 + level) / 2)) ** 2
        relative = (per.base + per.slope * unit) / unit**2 if per else 0.0
        # (value - x)^2 <= quantile (base + slope x + relative x^2), solved for x
        a = 1 - quantile * relative
        if a <= 0:
            return Interval(self.value / unit, -math.inf, math.inf)
        b = self.value + quantile * self.slope / 2
        root = max(b * b - a * (self.value**2 - quantile * self.base), 0.0) ** 0.5
        return Interval(self.value / unit, (b - root) / a / unit, (b + root) / a / unit)


def _student(value: float, error: float, freedom: int, level: float) -> Interval:
    margin = float(special.stdtrit(freedom, (1 + level) / 2)) * error
    return Interval(value, value - margin, value + margin)
