"""What the moments of an estimate and of its reference say, with intervals."""

import math
from collections.abc import Callable

import numpy as np
from torch import Tensor

from estbench.measure._moments import Moments
from estbench.stats import Floats, Interval, SquaredNorm, jackknife, mean_interval


class Comparison:
    """What the moments of an estimate and of its reference say, with intervals.

    Inner products are averaged over pairs of *different* batches, whose noise is independent: so the noise of
    neither the estimate nor the reference inflates them, and both enter the intervals.

    Args:
        estimate: moments of the estimator.
        reference: moments of the reference; None where there is none.
    """

    def __init__(self, estimate: Moments, reference: Moments | None) -> None:
        own = estimate.means
        self._own, self._coordinates = _gram(own, own), own.shape[1]
        self._trace = estimate.variances.cpu().numpy()
        if reference is not None:
            error = own - reference.means
            self._across = _gram(own, reference.means)
            self._norm = _gram(reference.means, reference.means)
            self._error = _gram(error, error)
            # what rounding alone can make of two equal gradients is no bias
            rounding = (100 * max(estimate.eps, reference.eps)) ** 2
            if np.abs(self._error).max() <= rounding * np.abs(self._norm).max():
                self._error = np.zeros_like(self._error)

    def variance(self) -> Interval:
        """Trace of the covariance of one estimate."""
        return mean_interval(self._trace)

    def variance_per_coordinate(self) -> Interval:
        """Variance of a coordinate of one estimate, averaged over the coordinates."""
        return per_coordinate(self.variance(), self._coordinates)

    def log_variance_per_coordinate(self) -> Interval:
        """Natural logarithm of that; NaN where there is no variance."""
        return log_mean(self._trace / self._coordinates)

    def squared_bias(self) -> Interval:
        """Squared norm of the bias; may come out negative."""
        return SquaredNorm.of(self._error).interval()

    def unbiased_p(self) -> float:
        """The p-value of "there is no bias"; 0 where there is one and no noise to hide it."""
        squared = SquaredNorm.of(self._error)
        return 0.0 if squared.base == 0 < squared.value else squared.p

    def bias(self) -> Interval:
        """Norm of the bias; its lower end is 0 where the bias is below the resolution of the replicates."""
        return _norm(SquaredNorm.of(self._error))

    def relative_bias(self) -> Interval:
        """Norm of the bias over the norm of the reference."""
        return _norm(SquaredNorm.of(self._error), SquaredNorm.of(self._norm))

    def mse(self) -> Interval:
        """Mean squared error of one estimate: variance and squared bias."""
        return self._jackknife(lambda w: _mean(self._trace, w) + _pairs(self._error, w))

    def snr(self) -> Interval:
        """Norm of the mean over the root of the variance."""
        found = self._jackknife(lambda w: _ratio(max(_pairs(self._own, w), 0), _mean(self._trace, w)) ** 0.5)
        return Interval(*np.maximum(found, 0.0).tolist())

    def cosine(self) -> Interval:
        """Cosine between the mean of the estimate and the reference."""
        return Interval(*np.clip(self._jackknife(self._cosine), -1.0, 1.0).tolist())

    def _cosine(self, weights: Floats) -> float:
        norms = max(_pairs(self._own, weights), 0) * max(_pairs(self._norm, weights), 0)
        return _ratio(_pairs(self._across, weights), norms**0.5)

    def _jackknife(self, statistic: Callable[[Floats], float]) -> Interval:
        return jackknife(statistic, len(self._trace))


def per_coordinate(trace: Interval, coordinates: int) -> Interval:
    """A trace over the number of coordinates."""
    return Interval(*(end / coordinates for end in trace))


def log_mean(values: Floats) -> Interval:
    """Natural logarithm of the mean of independent values; NaN where it is not above 0."""
    return jackknife(lambda weights: _log(_mean(values, weights)), len(values))


def relative_half_width(moments: Moments) -> float:
    """Half the width of the variance's interval, over the variance; 0 where there is none."""
    variance = mean_interval(moments.variances.cpu().numpy())
    return (variance.high - variance.low) / 2 / variance.value if variance.value else 0.0


def _log(value: float) -> float:
    return math.log(value) if value > 0 else math.nan


def _norm(squared: SquaredNorm, per: SquaredNorm | None = None) -> Interval:
    """The norm; where noise took its square so far below 0 that no value is left, what could just not be found."""
    found = squared.interval(per)
    if found.high <= 0:
        found = squared._replace(value=0.0).interval(per)
    return Interval(*np.sqrt(np.maximum(found, 0.0)).tolist())


def _gram(left: Tensor, right: Tensor) -> Floats:
    return (left @ right.T).cpu().numpy()


def _mean(values: Floats, weights: Floats) -> float:
    return float(weights @ values / weights.sum())


def _pairs(gram: Floats, weights: Floats) -> float:
    """Mean of the entries off the diagonal, among the batches that are used."""
    used = weights.sum()
    total = weights @ gram @ weights - (weights**2) @ np.diag(gram)
    return float(total / (used * (used - 1)))


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else float("nan")
