"""Change points and drifts in a series of values, one a commit.

Both tests use ranks only, so that a single outlier, which is what a busy machine leaves, is no change.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, norm, rankdata, theilslopes

Values = NDArray[np.float64]
# a segment has at least as many commits: one or two that differ may be noise, which the gate measures again
SHORTEST = 3
EXACT = 8
PERMUTATIONS = 49_999


@dataclass(frozen=True)
class ChangePoint:
    """One change of a series.

    Args:
        kind: ``step``, or ``drift`` if it is spread over the commits from ``first`` to ``last``.
        first: the index of the first value of the change: the first after a step.
        last: the index of its last value; of a step the same as ``first``.
        ratio: value after the change over value before it.
        low: lower end of the 95 % interval of the ratio.
        high: upper end.
    """

    kind: str
    first: int
    last: int
    ratio: float
    low: float
    high: float


def chance(values: Sequence[float]) -> float:
    """The probability of such a step or drift in exchangeable values, exact up to the number of permutations.

    The smaller p-value of two tests, times two: the largest standardised rank sum over all places of a step, and
    Kendall's rank correlation with time. 1 for fewer than six values, or if all are the same.

    Args:
        values: positive, in order of time, ``(commits,)``.
    """
    logs = np.log(np.asarray(values, float))
    if len(logs) < 2 * SHORTEST or np.ptp(logs) == 0:
        return 1.0
    drift = float(kendalltau(np.arange(len(logs)), logs).pvalue)
    return min(1.0, 2 * min(_step_chance(logs), 1.0 if math.isnan(drift) else drift))


def changes(values: Sequence[float], alpha: float) -> list[ChangePoint]:
    """The changes of a series, in order: its steps, or one drift if that describes the values better.

    Steps are found by binary segmentation. The two descriptions are compared by the Bayesian information criterion
    for errors of a Laplace distribution, to which an outlier is no evidence.

    Args:
        values: positive, in order of time, ``(commits,)``.
        alpha: level of the test of each segment for a further step.
    """
    logs = np.log(np.asarray(values, float))
    n = len(logs)
    starts = sorted(_steps(logs, 0, alpha))
    bounds = [0, *starts, n]
    levels = np.concatenate([np.full(b - a, np.median(logs[a:b])) for a, b in itertools.pairwise(bounds)])
    slope, intercept, low, high = theilslopes(logs, np.arange(n), 0.95)
    line = intercept + slope * np.arange(n)
    if _criterion(logs - line, 2) < _criterion(logs - levels, 1 + 2 * len(starts)):
        ratio, least, most = (math.exp(rate * (n - 1)) for rate in (slope, low, high))
        return [ChangePoint("drift", 0, n - 1, ratio, least, most)]
    parts = [logs[a:b] for a, b in itertools.pairwise(bounds)]
    return [ChangePoint("step", start, start, *_shift(parts[k], parts[k + 1])) for k, start in enumerate(starts)]


def _steps(logs: Values, offset: int, alpha: float) -> list[int]:
    if len(logs) < 2 * SHORTEST or np.ptp(logs) == 0 or _step_chance(logs) > alpha:
        return []
    split = SHORTEST + int(np.argmax(_statistics(np.asarray(rankdata(logs), np.float64)[None])[0]))
    return [
        offset + split,
        *_steps(logs[:split], offset, alpha),
        *_steps(logs[split:], offset + split, alpha),
    ]


def _statistics(ranks: Values) -> Values:
    """How unlikely the ranks before every possible step are, ``(series, places)``, from ``(series, values)``.

    That is minus the logarithm of the p-value of the rank-sum test: exact for up to ``EXACT`` values on one side,
    where the normal approximation would miss a step of which there are few values yet, else by that approximation.
    """
    n = ranks.shape[-1]
    before = np.arange(SHORTEST, n - SHORTEST + 1)
    sums = np.cumsum(ranks, -1)[:, before - 1]
    z = np.abs(sums - before * (n + 1) / 2) / np.sqrt(before * (n - before) * (n + 1) / 12)
    found: Values = -np.asarray(norm.logsf(z)) - math.log(2)
    tables = _exact(n)
    for place, count in enumerate(before):
        few = min(count, n - count)
        if few <= EXACT:
            own = sums[:, place] if few == count else n * (n + 1) / 2 - sums[:, place]
            middle = few * (n + 1) / 2
            # half a rank, from ties, is rounded towards the middle
            found[:, place] = tables[few][np.where(own < middle, np.ceil(own), np.floor(own)).astype(int)]
    return found


@functools.lru_cache(maxsize=256)
def _exact(n: int) -> dict[int, Values]:
    """Minus the logarithm of the two-sided p-value of each sum of the ranks of few of ``n`` values, by their number."""
    most = min(EXACT, n)
    counts = np.zeros((most + 1, most * n + 1))
    counts[0, 0] = 1
    for rank in range(1, n + 1):
        for few in range(most, 0, -1):
            counts[few, rank:] += counts[few - 1, :-rank]
    found = {}
    for few in range(SHORTEST, most + 1):
        below = np.cumsum(counts[few]) / counts[few].sum()
        above = 1 - below + counts[few] / counts[few].sum()
        found[few] = -np.log(np.clip(2 * np.minimum(below, above), 1e-300, 1))
    return found


def _step_chance(logs: Values) -> float:
    seen = _statistics(np.asarray(rankdata(logs), np.float64)[None]).max()
    # ties make the statistic smaller, so that the distribution without ties is on the safe side
    return float((1 + np.sum(_by_chance(len(logs)) >= seen - 1e-9)) / (PERMUTATIONS + 1))


@functools.lru_cache(maxsize=256)
def _by_chance(n: int) -> Values:
    """The largest statistic of random orders of ``n`` values; ranks have the same distribution whatever the values."""
    generator, ranks = np.random.default_rng(n), np.arange(1, n + 1, dtype=np.float64)
    parts = [
        _statistics(generator.permuted(np.tile(ranks, (min(5_000, PERMUTATIONS - start), 1)), axis=-1)).max(-1)
        for start in range(0, PERMUTATIONS, 5_000)
    ]
    return np.concatenate(parts)


def _shift(before: Values, after: Values) -> tuple[float, float, float]:
    """The ratio of two levels: the median of all differences of logarithms, with the interval of the rank-sum test."""
    differences = np.sort((after[:, None] - before).ravel())
    m, n = len(before), len(after)
    wide = norm.ppf(0.975) * math.sqrt(m * n * (m + n + 1) / 12)
    cut = max(0, math.floor(m * n / 2 - wide))
    middle, low, high = np.median(differences), differences[cut], differences[-1 - cut]
    return float(np.exp(middle)), float(np.exp(low)), float(np.exp(high))


def _criterion(errors: Values, parameters: int) -> float:
    """The Bayesian information criterion, for errors of a Laplace distribution of unknown width."""
    n = len(errors)
    return float(2 * n * np.log(max(np.abs(errors).mean(), 1e-12)) + parameters * math.log(n))
