"""Intervals of means, medians and jackknife estimates, and of products and ratios."""

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats: TypeAlias = NDArray[np.float64]
LEVEL = 0.95


class Interval(NamedTuple):
    """A value with the interval that holds the true one."""

    value: float
    low: float
    high: float


NOTHING = Interval(math.nan, math.nan, math.nan)


def mean_interval(sample: Floats, level: float = LEVEL) -> Interval:
    """Mean with Student's interval; no interval for fewer than two values."""
    if not len(sample):
        return NOTHING
    value = float(np.mean(sample))
    margin = float(mean_margin(np.std(sample, ddof=1), len(sample), level)) if len(sample) > 1 else math.nan
    return Interval(value, value - margin, value + margin)


def mean_margin(deviation: ArrayLike, n: ArrayLike, level: float = LEVEL) -> Floats:
    """Half of Student's interval of a mean of ``n`` values of this standard deviation; NaN for one value."""
    freedom = np.maximum(np.asarray(n, dtype=float) - 1, 1)
    margin = special.stdtrit(freedom, (1 + level) / 2) * np.asarray(deviation, dtype=float) / np.sqrt(freedom + 1)
    return np.where(np.asarray(n) > 1, margin, math.nan)


def normal_margin(error: float, level: float = LEVEL) -> float:
    """Half of the interval of a normal value whose standard error is known."""
    return float(special.ndtri((1 + level) / 2)) * error


def normal_error(low: ArrayLike, high: ArrayLike, level: float = LEVEL) -> Floats:
    """The standard error of a normal value that has this interval."""
    width = np.asarray(high, dtype=float) - np.asarray(low, dtype=float)
    return np.asarray(width / (2 * special.ndtri((1 + level) / 2)))


def median_interval(sample: Floats, level: float = LEVEL) -> Interval:
    """Median with an interval between order statistics, interpolated so that it holds its level for any n.

    There is no interval if even the range of the sample would not reach the level: fewer than 6 values for 95 %.

    Reference: Hettmansperger & Sheather (1986), https://doi.org/10.1016/0167-7152(86)90021-0
    """
    ordered, n = np.sort(sample), len(sample)
    value = float(np.median(ordered))
    # the probability that the interval between the k-th values from either end holds the median
    held = 1 - 2 * special.bdtr(np.arange(0, (n + 1) // 2), n, 0.5)
    enough = int(np.sum(held >= level))
    if not enough:
        return Interval(value, math.nan, math.nan)
    inner = held[enough] if enough < len(held) else 0.0
    part = (held[enough - 1] - level) / (held[enough - 1] - inner)
    weight = (n - enough) * part / (enough + (n - 2 * enough) * part)
    low, high = (float((1 - weight) * x[enough - 1] + weight * x[enough]) for x in (ordered, ordered[::-1]))
    return Interval(value, low, high)


def jackknife(statistic: Callable[[Floats], float], batches: int, level: float = LEVEL) -> Interval:
    """A statistic of independent batches with Student's interval by leaving out one batch at a time.

    Args:
        statistic: maps weights ``(batches,)`` of 0 and 1, the batches to use, to a value.
        batches: number of batches.
        level: probability that the interval holds the truth.
    """
    return jackknifed(np.array([statistic(weights) for weights in left_out(batches)]), level)


def left_out(batches: int) -> Floats:
    """Weights ``(1 + batches, batches)`` of all batches, and of all but each of them."""
    return np.concatenate([np.ones((1, batches)), 1 - np.eye(batches)])


def jackknifed(values: Floats, level: float = LEVEL, *, log: bool = False) -> Interval:
    """The jackknife's interval from values ``(1 + batches,)`` for the weights of :func:`left_out`.

    Args:
        values: the value of all batches, then those without each batch.
        level: probability that the interval holds the truth.
        log: whether to use logarithms, for values that are not negative. Estimates of variances are skewed, but their
            logarithms hardly are; with few replicates per batch, the interval on the original scale has too low
            coverage. If one of the values is not positive, the original scale is used, cut off at 0.

    Reference: Efron & Stein (1981), https://doi.org/10.1214/aos/1176345462
    """
    batches, positive = len(values) - 1, log and bool((values > 0).all())
    value, without = float(values[0]), np.log(values[1:]) if positive else values[1:]
    # the pseudovalues of the batches have the statistic's error as their mean's
    margin = float(mean_margin((batches - 1) * np.std(without, ddof=1), batches, level))
    if positive:
        return Interval(value, value * math.exp(-margin), value * math.exp(margin))
    least = 0.0 if log else -math.inf
    return Interval(value, max(value - margin, least), max(value + margin, least))


def product(
    one: tuple[ArrayLike, ArrayLike, ArrayLike], other: tuple[ArrayLike, ArrayLike, ArrayLike]
) -> tuple[Floats, Floats, Floats]:
    """The product of two independent positive values, such as variance and seconds, by their intervals.

    On the logarithmic scale, the squared distances to the bounds add up, separately on either side. A value of 0
    gives a product of exactly 0; if only a lower bound is not positive, the lower bound of the product is 0.

    Args:
        one: value, low and high; arrays of any one shape.
        other: value, low and high of the other factor.

    Reference: Zou & Donner (2008), https://doi.org/10.1002/sim.3095
    """
    (a, a_low, a_high), (b, b_low, b_high) = (np.broadcast_arrays(*map(np.asarray, entry)) for entry in (one, other))
    value = a * b
    with np.errstate(divide="ignore", invalid="ignore"):
        down = np.hypot(np.log(a / np.maximum(a_low, 0)), np.log(b / np.maximum(b_low, 0)))
        up = np.hypot(np.log(a_high / a), np.log(b_high / b))
        low, high = value * np.exp(-down), value * np.exp(up)
    return value, np.where(value == 0, 0.0, low), np.where(value == 0, 0.0, high)


def ratio(above: Interval, below: Interval) -> Interval:
    """The ratio of two independent positive values, by their intervals."""
    if not below.value > 0:
        return NOTHING
    inverse = (1 / below.value, 1 / below.high, 1 / below.low if below.low > 0 else math.inf)
    return Interval(*(float(x) for x in product(above, inverse)))
