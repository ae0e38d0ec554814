"""Tests of differences, and corrections for the number of tests."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from estbench.stats.intervals import Floats, normal_error

SIGNIFICANCE = 0.05
# up to this number of pairs all 32,768 patterns of signs are enumerated
EXACT = 16
DRAWS = 99_999

Triple: TypeAlias = tuple[ArrayLike, ArrayLike, ArrayLike]


def holm(p_values: Sequence[float] | Floats) -> list[float]:
    """Holm's adjustment of p-values; NaN, for tests that could not be made, is ignored.

    Reference: Holm (1979), https://www.jstor.org/stable/4615733
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)[: int(np.isfinite(p).sum())]
    adjusted = np.full(len(p), math.nan)
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


def combined(p_values: Floats) -> float:
    """The p-value of independent tests of one hypothesis taken together, by Fisher's method."""
    p = np.maximum(p_values, 1e-300)
    return float(special.chdtrc(2 * len(p), -2 * np.log(p).sum()))


def student_paired(difference: Floats) -> float:
    """The p-value of Student's paired test; NaN for fewer than two pairs."""
    n = len(difference)
    if n < 2:
        return math.nan
    error, mean = float(np.std(difference, ddof=1)) / n**0.5, float(np.mean(difference))
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * special.stdtr(n - 1, -abs(mean) / error))


def sign_flip(difference: Floats) -> float:
    """The p-value of the paired permutation test of a mean of zero; NaN for fewer than two pairs.

    If nothing distinguishes the two sides, each pair's difference could as well have the other sign: p is the share
    of all patterns of signs whose mean is as far from zero. Of more than 16 pairs, 99,999 patterns are drawn, always
    the same.
    """
    n = len(difference)
    if n < 2:
        return math.nan
    found = abs(float(np.sum(difference)))
    # equal sums must not differ by their rounding
    bar = found - 1e-12 * float(np.sum(np.abs(difference)))
    if n <= EXACT:
        return float(np.mean(np.abs(_signs(n) @ difference) >= bar))
    random, beyond = np.random.default_rng(0), 0
    for count in [10_000] * (DRAWS // 10_000) + [DRAWS % 10_000]:
        beyond += int(np.sum(np.abs(random.choice([-1.0, 1.0], (count, n)) @ difference) >= bar))
    return (beyond + 1) / (DRAWS + 1)


def zero_mean(gram: Floats) -> float:
    r"""The p-value of a mean of zero, from the Gram matrix of independent batches of noisy vectors.

    If the batches' means scatter symmetrically about zero, each could as well have the other sign: the p-value is the
    share of sign patterns :math:`s` with :math:`\sum_{i \ne j} s_i s_j g_{ij} \ge \sum_{i \ne j} g_{ij}`. It assumes
    nothing about their covariance. The sum's first three moments over all patterns are known; with them it is taken as
    a shifted gamma variable (Pearson's type III).

    Reference: for quadratic forms of normal variables Imhof (1961), https://doi.org/10.1093/biomet/48.3-4.419
    """
    apart = gram - np.diag(np.diag(gram))
    deviation = math.sqrt(2 * float(np.square(apart).sum()))
    if deviation == 0:
        return 1.0
    apart = apart / deviation
    skewness = 8 * float((apart @ apart * apart).sum())
    # a tail lighter than the normal distribution's, or close to it, is treated as normal
    root = 2 / max(skewness, 1e-3)
    return float(special.gammaincc(root**2, max(root**2 + root * float(apart.sum()), 0.0)))


@functools.cache
def _signs(n: int) -> Floats:
    """All patterns of signs ``(2 ** (n - 1), n)`` up to a flip of all, which changes no absolute sum."""
    bits = np.arange(2 ** (n - 1))[:, None] >> np.arange(n) & 1
    return np.asarray(1 - 2 * bits, dtype=np.float64)


def least_p(pairs: int) -> float:
    """The smallest p-value that :func:`sign_flip` can give for this number of pairs."""
    return 2.0 ** (1 - pairs) if pairs <= EXACT else 1 / (DRAWS + 1)


def seeds_needed(tests: int) -> int:
    """How many seeds a sign-flip test needs to be significant after correction for this number of tests."""
    return next((n for n in range(2, EXACT + 1) if least_p(n) * tests < SIGNIFICANCE), EXACT + 1)


@dataclass(frozen=True)
class PairedTests:
    """All pairs of estimators, tested over the same seeds.

    Args:
        p: p-values ``(estimators, estimators)``, Holm-corrected over all pairs; NaN where nothing could be tested.
        exact: whether they come from sign-flip tests; otherwise from Student's.
        seeds: the smallest number of pairs of runs in any test.
        tests: how many tests there are.
    """

    p: Floats
    exact: bool
    seeds: int
    tests: int


def paired_all(runs: Floats) -> PairedTests:
    """Tests every two estimators against each other over the seeds that both have.

    By sign-flip tests, which assume nothing about the differences, if the seeds suffice for one to be significant
    after Holm's correction over all pairs; else by Student's, which assumes them normal. All pairs are corrected
    for, also where only those with the best are of interest: that it is the best was seen in the same data.

    Args:
        runs: values ``(seeds, estimators)``, NaN where a run is missing.
    """
    count = runs.shape[1]
    first, second = np.triu_indices(count, 1)
    both = [(runs[:, a] - runs[:, b]) for a, b in zip(first, second, strict=True)]
    differences = [difference[~np.isnan(difference)] for difference in both]
    sizes = [len(difference) for difference in differences if len(difference) > 1]
    fewest = min(sizes, default=0)
    exact = bool(sizes) and least_p(fewest) * len(sizes) < SIGNIFICANCE
    test = sign_flip if exact else student_paired
    return PairedTests(_square(holm([test(d) for d in differences]), count), exact, fewest, len(sizes))


def compare_pair(one: Triple, other: Triple) -> Floats:
    """p-values of "no difference" between independent values, from their 95 % intervals.

    They are compared by their ratio if both and their bounds are positive, else by their difference. Exact values,
    such as bytes, differ if they are not the same; without an interval there is no test, unless they are the same.

    Args:
        one: value, low and high; arrays of any shapes that fit together.
        other: value, low and high of the other side.
    """
    values = [tuple(np.asarray(x, dtype=float) for x in entry) for entry in (one, other)]
    (a, a_low, a_high), (b, b_low, b_high) = values
    with np.errstate(divide="ignore", invalid="ignore"):
        positive = np.minimum(np.minimum(a, a_low), np.minimum(b, b_low)) > 0
        gap = np.where(positive, np.log(a) - np.log(b), a - b)
        errors = (np.where(positive, normal_error(np.log(low), np.log(high)), normal_error(low, high))
                  for low, high in ((a_low, a_high), (b_low, b_high)))  # fmt: skip
        error = np.hypot(*errors)
        p = np.where(error == 0, 0.0, 2 * special.ndtr(-np.abs(gap) / error))
    return np.where(a == b, 1.0, p)


def _square(p: Sequence[float], count: int) -> Floats:
    """A symmetric matrix from its upper triangle."""
    found = np.full((count, count), math.nan)
    found[np.triu_indices(count, 1)] = p
    return np.where(np.isnan(found), found.T, found)
