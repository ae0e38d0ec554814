"""Summaries of scores over several runs and tasks (Agarwal et al. 2021, https://arxiv.org/abs/2108.13264)."""

import math
from typing import TypeAlias

import numpy as np
from scipy import special

from estbench.stats.intervals import LEVEL, Floats, Interval

# with fewer runs per task, no interval of these values was found to keep its level
FEWEST_RUNS = 5
RESAMPLES = 1000

Scores: TypeAlias = Floats
"""Scores of one estimator, ``(tasks, runs)``."""


def normalised(means: Floats, values: Floats) -> Floats:
    """Scores on one scale for all tasks: 0 for the worst of the means over runs, 1 for the best.

    Args:
        means: the means of all estimators on a task; higher is better.
        values: scores on that task.
    """
    low, high = float(np.min(means)), float(np.max(means))
    return (values - low) / (high - low) if high > low else np.ones_like(values)


def interquartile_mean(scores: Scores, level: float = LEVEL) -> Interval:
    """The mean of the middle half of all runs over all tasks, with a stratified bootstrap interval.

    Runs are resampled within each task. With few runs, the bootstrap's percentiles have far too low coverage; the
    interval uses the bootstrap's standard error instead, enlarged like that of a mean, with Student's quantile.
    The degrees of freedom are Satterthwaite's, from the winsorised variance in each task. With fewer than 5 runs per
    task there is no interval.

    Reference: for the trimmed mean's variance, Tukey & McLaughlin (1963), https://www.jstor.org/stable/25049278
    """
    tasks, runs = scores.shape
    value = float(_middle(scores.reshape(1, -1))[0])
    if runs < FEWEST_RUNS:
        return Interval(value, math.nan, math.nan)
    chosen = np.random.default_rng(0).integers(0, runs, (RESAMPLES, tasks, runs))
    drawn = np.take_along_axis(np.broadcast_to(scores, chosen.shape), chosen, 2)
    error = float(np.std(_middle(drawn.reshape(RESAMPLES, -1)), ddof=1)) * (runs / (runs - 1)) ** 0.5
    margin = float(special.stdtrit(_freedom(scores), (1 + level) / 2)) * error
    return Interval(value, value - margin, value + margin)


def _middle(pooled: Floats) -> Floats:
    """Means of rows without their lowest and highest quarters, rounded down."""
    cut = pooled.shape[1] // 4
    return np.sort(pooled, axis=1)[:, cut : pooled.shape[1] - cut].mean(1)


def _freedom(scores: Scores) -> float:
    ordered, cut = np.sort(scores, axis=None), scores.size // 4
    spread = np.clip(scores, ordered[cut], ordered[-cut - 1]).var(1, ddof=1)
    runs = scores.shape[1]
    return float(spread.sum() ** 2 / (spread**2).sum() * (runs - 1)) if spread.any() else scores.size - len(scores)


def improvement(one: Scores, other: Scores, level: float = LEVEL) -> Interval:
    r"""The probability that a run of one beats a run of the other, averaged over tasks.

    A tie counts half: this is the Mann-Whitney statistic divided by the number of pairs. Its interval holds the values
    that a score test does not reject; the variance at a given value is the mean of those for two
    normal and two exponential distributions. If tasks differ, it is wider than necessary. With fewer than 5
    runs per task there is none.

    Reference: Newcombe (2006), https://doi.org/10.1002/sim.2324
    """
    gap = one[:, :, None] - other[:, None, :]
    value = float(np.mean((gap > 0) + 0.5 * (gap == 0)))
    tasks, runs, rivals = gap.shape
    if min(runs, rivals) < FEWEST_RUNS:
        return Interval(value, math.nan, math.nan)
    p = np.linspace(0, 1, 2001)
    variance = _variance(p, runs, rivals) / tasks
    kept = p[(value - p) ** 2 <= float(special.ndtri((1 + level) / 2)) ** 2 * variance + 1e-15]
    return Interval(value, float(kept.min(initial=value)), float(kept.max(initial=value)))


def _variance(p: Floats, runs: int, rivals: int) -> Floats:
    """Variance of the share of pairs in which one beats the other, by its expectation.

    Reference: Hanley & McNeil (1982), https://doi.org/10.1148/radiology.143.1.7063747
    """
    # the probability that one run beats two others, for normal distributions and for exponential ones in either
    # direction
    normal = p - 2 * special.owens_t(special.ndtri(np.clip(p, 1e-15, 1 - 1e-15)), 3**-0.5)
    exponential = (p / (2 - p) + 2 * p**2 / (1 + p)) / 2
    twice = (normal + exponential) / 2 - p**2
    return np.asarray((p * (1 - p) + (runs + rivals - 2) * twice) / (runs * rivals))


def profile(scores: Scores, thresholds: Floats, level: float = LEVEL) -> tuple[Floats, Floats, Floats]:
    """The share of runs, over all tasks, that score above each threshold, with a pointwise confidence band.

    The band is Wilson's; if tasks differ, it is wider than necessary. With fewer than 5 runs per task it is NaN.

    Reference: Wilson (1927), https://doi.org/10.1080/01621459.1927.10502953
    """
    share = np.mean(scores.reshape(-1)[:, None] > thresholds, axis=0)
    if scores.shape[1] < FEWEST_RUNS:
        return share, np.full_like(share, math.nan), np.full_like(share, math.nan)
    quantile = float(special.ndtri((1 + level) / 2)) ** 2
    centre = (share + quantile / (2 * scores.size)) / (1 + quantile / scores.size)
    half = np.sqrt(quantile * (share * (1 - share) / scores.size + quantile / (4 * scores.size**2)))
    half = half / (1 + quantile / scores.size)
    return share, np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)
