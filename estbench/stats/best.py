r"""Multiple comparisons with the best: how each estimator differs from the best of the others.

With :math:`\theta_i` larger for better estimators, the intervals hold :math:`\theta_i - \max_{j \ne i} \theta_j` for
all estimators at once with 95 % probability. Let :math:`b` be the true best. With that probability, all differences to
it lie within two-sided margins :math:`d_{bj}` of their estimates, corrected for the comparisons with :math:`b` alone.
Which estimator is the best is unknown: one that is below no other by more than the margin may be. An estimator's
interval is the union over all that may be the best.

An interval that excludes 0 therefore says that the estimator is worse than every one that may be the best. If several
estimators are equally good, all of this holds for each of them: any of them is called worse in at most 5 % of
comparisons.

Reference: Edwards & Hsu (1983), https://doi.org/10.1080/01621459.1983.10477047; Hsu (1996), Multiple Comparisons,
chapter 4.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from estbench.stats.intervals import LEVEL, Floats, normal_error

Matrix = Floats
# points of the integral over the control's own error, and where its density ends
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(32)
_REACH = 7.0
_TINY = 1e-5


class WithBest(NamedTuple):
    """How each estimator compares with the best of the others; arrays ``(estimators,)``.

    Args:
        difference: the estimated difference to the best of the others; negative for all but the observed best.
        low: lower ends of the simultaneous intervals.
        high: upper ends; below 0 if the estimator is worse than every one that may be the best.
        p: adjusted p-values: the smallest level at which the interval excludes 0 from above.
        candidate: whether it may be the best.
    """

    difference: Floats
    low: Floats
    high: Floats
    p: Floats
    candidate: NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """Comparisons of each estimator, the control, with all others, ``(controls, estimators)``.

    Args:
        gap: estimated differences, the control's value less the other's; larger values are better.
        p: two-sided p-values of "no difference", adjusted for all comparisons with the control.
        margin: half of the simultaneous intervals of the differences.
        level: of these intervals.
    """

    gap: Matrix
    p: Matrix
    margin: Matrix
    level: float = LEVEL

    def with_best(self) -> WithBest:
        """Compares each estimator with the best of the others.

        Raises:
            ValueError: there are fewer than two estimators.
        """
        if len(self.gap) < 2:
            raise ValueError(f"comparisons with the best need at least 2 estimators; got {len(self.gap)}")
        itself = np.eye(len(self.gap), dtype=bool)
        beaten = self.gap > 0
        # the level at which an estimator can be the best no more: some other one is above it by more than the margin
        out = np.where(beaten.T & ~itself, self.p, 1.0).min(1)
        out[int(beaten.sum(1).argmax())] = 1.0
        # told apart from an estimator, or that one cannot be the best
        from_each = np.minimum(np.where(beaten, self.p, 1.0), out[:, None])
        p = np.maximum(out, np.where(itself, 0.0, from_each).max(0))
        candidate = out >= 1 - self.level
        low, high = self._bounds(candidate)
        return WithBest(np.where(itself, np.inf, self.gap).min(1), low, high, p, candidate)

    def _bounds(self, candidate: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        itself = np.eye(len(self.gap), dtype=bool)
        rivals = candidate[:, None] & ~itself
        # if another one is the best: the difference to it, which is not above 0
        low = np.where(rivals, -self.gap - self.margin, np.inf).min(0)
        high = np.minimum(np.where(rivals, -self.gap + self.margin, -np.inf).max(0), 0.0)
        # if it is the best itself: the least difference to any other one, which is not below 0
        own_low = np.maximum(np.where(itself, np.inf, self.gap - self.margin).min(1), 0.0)
        own_high = np.where(itself, np.inf, self.gap + self.margin).min(1)
        low = np.where(candidate, np.minimum(low, own_low), low)
        return low, np.where(candidate, np.maximum(own_high, 0.0), high)


def best_of_paired(runs: Floats, level: float = LEVEL) -> Pairs:
    """Comparisons over seeds: means of paired differences, each with a spread and a number of seeds of its own.

    Student's distribution for each pair, by Bonferroni's inequality over the comparisons with one control. Nothing is
    assumed about how variances differ between estimators; paired differences are taken as normal. Pairs with fewer
    than two seeds in common cannot be told apart.

    Args:
        runs: values ``(seeds, estimators)``, larger ones better, NaN where a run is missing.
        level: of the intervals.
    """
    differences = runs[:, :, None] - runs[:, None, :]
    n = (~np.isnan(differences)).sum(0)
    others = max(runs.shape[1] - 1, 1)
    gap = np.where(n > 0, np.nansum(differences, 0) / np.maximum(n, 1), 0.0)
    squares = np.nansum((differences - gap) ** 2, 0)
    freedom = np.maximum(n - 1, 1)
    error = np.sqrt(squares / freedom / np.maximum(n, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * special.stdtr(freedom, -np.abs(gap) / error)
        margin = special.stdtrit(freedom, 1 - (1 - level) / (2 * others)) * error
    # without any spread, values that differ do so for certain
    p = np.where(gap == 0, 1.0, np.where(error == 0, 0.0, np.minimum(others * p, 1.0)))
    known = n > 1
    return Pairs(gap, np.where(known, p, 1.0), np.where(known, margin, np.inf), level)


def best_of_independent(value: Floats, low: Floats, high: Floats, *, higher: bool, level: float = LEVEL) -> Pairs:
    """Comparisons of independent values by their 95 % intervals, taken as those of normal values.

    Two values are compared by their ratio if both and their bounds are positive, else by their difference. The
    comparisons with one control have its error in common: their joint distribution is Dunnett's, for errors that may
    all be different. Values without an error, such as bytes, differ if they are not the same.

    Args:
        value: the values, ``(estimators,)``.
        low: lower ends of their intervals.
        high: upper ends.
        higher: whether higher values are better.
        level: of the intervals of differences.

    Reference: Dunnett (1955), https://doi.org/10.1080/01621459.1955.10501294
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        positive = np.minimum(value, low) > 0
        both = positive[:, None] & positive
        logs = np.log(np.where(positive, value, 1.0))
        log_errors = np.where(positive, normal_error(np.log(low), np.log(high)), 0.0)
    gap = np.where(both, logs[:, None] - logs, value[:, None] - value) * (1 if higher else -1)
    errors = normal_error(low, high)
    own = np.where(both, log_errors[:, None], errors[:, None])
    error = np.hypot(own, own.T)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.abs(gap) / error
        shared = np.where(error > 0, own / error, 0.0)
    p = np.where(gap == 0, 1.0, np.where(error == 0, 0.0, dunnett_p(np.where(error > 0, z, 0.0), shared)))
    return Pairs(gap, p, dunnett_quantile(shared, level)[:, None] * error, level)


def dunnett_p(z: Matrix, shared: Matrix) -> Matrix:
    r"""The probability that any of the comparisons with a control is as large, without a difference.

    Args:
        z: sizes of the statistics, ``(controls, others)``; the diagonal is the control itself and is ignored.
        shared: how the statistics correlate with the control's error, :math:`\lambda_{bj}`, so that those of :math:`j`
            and :math:`l` have the correlation :math:`\lambda_{bj} \lambda_{bl}`.
    """
    one, count = 2 * special.ndtr(-z), len(z) - 1
    # no more than if they were independent (Šidák's inequality), which small probabilities nearly are
    most = -np.expm1(count * np.log1p(-np.minimum(one, 1 - 1e-16)))
    found = most.copy()
    for control, row in enumerate(shared):
        wanted = most[control] > _TINY
        found[control, wanted] = 1 - _within(z[control, wanted], row, control)
    return np.clip(found, one, most)


def dunnett_quantile(shared: Matrix, level: float = LEVEL) -> Floats:
    """Two-sided critical values of the comparisons with each control, for a given level, ``(controls,)``."""
    count = max(len(shared) - 1, 1)
    least, most = (float(special.ndtri((1 + x) / 2)) for x in (level, level ** (1 / count)))
    bounds = np.linspace(least, most, 9)
    found = [np.interp(level, _within(bounds, row, control), bounds) for control, row in enumerate(shared)]
    return np.array(found)


def _within(bounds: Floats, shared: Floats, control: int) -> Floats:
    """The probability that no statistic of one control is beyond a bound, for several bounds."""
    shared = np.minimum(np.delete(shared, control), 0.9999)
    rest = np.sqrt(1 - shared**2)
    noise = _REACH * (_POINTS + 1) / 2
    weights = _REACH * _WEIGHTS * np.exp(-(noise**2) / 2) / np.sqrt(2 * np.pi)
    # (bounds, points, others); the integrand is even, so that half of the line suffices
    centre, bound = noise[:, None] * shared / rest, bounds[:, None, None] / rest
    inside = special.ndtr(centre + bound) - special.ndtr(centre - bound)
    return np.asarray(inside.prod(-1) @ weights)
