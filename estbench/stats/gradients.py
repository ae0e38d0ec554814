"""Metrics of a gradient estimate, from the inner products between the means of independent batches."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

from estbench.stats.intervals import LEVEL, NOTHING, Floats, Interval, jackknifed, left_out
from estbench.stats.significance import zero_mean

ANYTHING = Interval(math.nan, -math.inf, math.inf)


class Unit(NamedTuple):
    """The denominator of a ratio of two estimates.

    Args:
        value: the estimate.
        variance: variance of the estimate.
        covariance: covariance with the numerator.
    """

    value: float
    variance: float
    covariance: float = 0.0


class SquaredNorm(NamedTuple):
    r"""The squared norm of a mean vector, from the Gram matrix of independent batches of noisy vectors.

    The value is the U-statistic of degree two: pairs of different batches contain no squared noise. With
    :math:`\theta` the true squared norm its variance is :math:`v_0 + \kappa \theta`: noise times noise, and noise
    along the mean.

    Attributes:
        value: an unbiased estimate, which may be negative.
        base: :math:`v_0`.
        slope: :math:`\kappa`.
        batches: number of batches.
        p: the p-value of a mean of zero: how often the value would be as large if each batch's sign were drawn.
        dimension: effective number of dimensions of the noise.
    """

    value: float
    base: float
    slope: float
    batches: int
    p: float
    dimension: float

    @classmethod
    def of(cls, gram: Floats) -> "SquaredNorm":
        """Computes it from the inner products ``(batches, batches)``."""
        batches = len(gram)
        pairs = ~np.eye(batches, dtype=bool)
        centred = gram - gram.mean(0) - gram.mean(1)[:, None] + gram.mean()
        total = float(gram.mean())
        along = float(np.var(gram.mean(1), ddof=1)) / total if total > 0 else 0.0
        scatter = float(np.var(centred[pairs]))
        base, trace = 2 / (batches * (batches - 1)) * scatter, float(np.trace(centred)) / (batches - 1)
        dimension = max(trace**2 / scatter, 1.0) if scatter > 0 else 1.0
        return cls(float(gram[pairs].mean()), base, 4 * along / batches, batches, zero_mean(gram), dimension)

    @property
    def variance(self) -> float:
        """The variance of the value."""
        return self.base + self.slope * max(self.value, 0.0)

    def interval(self, per: "SquaredNorm | Unit | None" = None, level: float = LEVEL) -> Interval:
        """The values that a score test does not reject; if ``unit`` is given, those of the ratio to it.

        An interval of the value plus and minus its standard error would miss small values in few dimensions. The
        interval of a ratio is Fieller's: it is unbounded if the denominator does not differ significantly from 0.

        Reference: Fieller (1954), https://doi.org/10.1111/j.2517-6161.1954.tb00159.x
        """
        unit = Unit(per.value, per.variance) if isinstance(per, SquaredNorm) else per or Unit(1.0, 0.0)
        if not unit.value > 0:
            return ANYTHING
        quantile = float(special.stdtrit(self.batches - 1, (1 + level) / 2)) ** 2
        base = max(self._quantile(level) ** 2 / quantile, 1.0) * self.base
        # (value - x)^2 <= quantile (base + slope x - 2 x covariance / unit + x^2 variance / unit^2), solved for x
        a = 1 - quantile * unit.variance / unit.value**2
        if a <= 0:
            return Interval(self.value / unit.value, -math.inf, math.inf)
        b = self.value + quantile * (self.slope / 2 - unit.covariance / unit.value)
        root = max(b * b - a * (self.value**2 - quantile * base), 0.0) ** 0.5
        return Interval(self.value / unit.value, (b - root) / a / unit.value, (b + root) / a / unit.value)

    def _quantile(self, level: float) -> float:
        """The quantile of the value divided by its standard deviation, for mean zero and normal noise.

        A sum of few squares is skewed: along one direction it is that of an F distribution with 1 and 31 degrees of
        freedom, and larger than Student's.
        """
        most = float(special.fdtri(self.dimension, self.dimension * (self.batches - 1), level))
        return (most - 1) * (self.dimension / 2) ** 0.5


@dataclass(frozen=True)
class GradientMetrics:
    """Metrics of a gradient estimate with intervals, from its moments and those of its reference.

    Inner products are averaged over pairs of *different* batches, whose noise is independent. The noise of
    estimate and reference therefore does not inflate them, and both are part of the intervals.

    Args:
        traces: trace of the covariance of one estimate, from each batch, ``(batches,)``.
        entries: number of entries of the gradient.
        per_batch: number of estimates in each batch.
        own: inner products between the batches' mean estimates, ``(batches, batches)``.
        across: those between the mean estimates and the reference's means; None if there is no reference.
        norm: those between the reference's means.
        error: those between the differences of mean estimates and reference's means.
    """

    traces: Floats
    entries: int
    per_batch: int
    own: Floats
    across: Floats | None = None
    norm: Floats | None = None
    error: Floats | None = None

    def variance(self) -> Interval:
        """Trace of the covariance of one estimate."""
        return self._variance_interval(self._variances())

    def variance_per_coordinate(self) -> Interval:
        """Variance of a coordinate of one estimate, averaged over the coordinates."""
        return self._variance_interval(self._variances() / self.entries)

    def log_variance_per_coordinate(self) -> Interval:
        """Natural logarithm of the variance per coordinate; NaN if the variance is 0."""
        found = self.variance_per_coordinate()
        return Interval(*np.log(found).tolist()) if found.low > 0 else NOTHING

    def _variance_interval(self, variances: Floats) -> Interval:
        """The jackknife's of the logarithm, with room for what the mean's own error takes from a variance.

        Where the variance hardly depends on what varies, as of a coin that is nearly fair, the deviations from a mean
        that is off by :math:`t` standard errors are too small by :math:`t^2 / n` of the variance.
        """
        found, batches = jackknifed(variances, log=True), len(self.traces)
        # as the rest of the error is there besides, half of it keeps the level
        room = float(special.stdtrit(batches - 1, (1 + LEVEL) / 2)) ** 2 / (2 * batches * self.per_batch)
        return found._replace(low=found.low * max(1 - room, 0.0))

    def _variances(self) -> Floats:
        """The variance of the estimates of all batches together, and without each batch.

        Of all together, as it is the more exact the more estimates its mean is of: where the variance hardly depends
        on what varies, as of a coin that is nearly fair, those within small batches are skewed.
        """
        weights, own = left_out(len(self.traces)), self.own
        centred = own - own.mean(0) - own.mean(1)[:, None] + own.mean()
        used = weights.sum(1)
        between = weights @ np.diag(centred) - ((weights @ centred) * weights).sum(1) / used
        within = (self.per_batch - 1) * (weights @ self.traces)
        return np.asarray((within + self.per_batch * np.maximum(between, 0.0)) / (used * self.per_batch - 1))

    def squared_bias(self) -> Interval:
        """Squared norm of the bias; the unbiased estimate may be negative."""
        return SquaredNorm.of(_known(self.error)).interval()

    def unbiased_p(self) -> float:
        """The p-value of "there is no bias"; never 0, since there are finitely many patterns of signs."""
        return SquaredNorm.of(_known(self.error)).p

    def bias(self) -> Interval:
        """Norm of the bias; its interval begins at 0 if the bias is below the resolution of the replicates."""
        return _norm(SquaredNorm.of(_known(self.error)))

    def relative_bias(self) -> Interval:
        """Norm of the bias over the norm of the reference."""
        error, norm = _known(self.error), _known(self.norm)
        reference = SquaredNorm.of(norm)
        squared = SquaredNorm.of(error)
        most = (squared.variance * reference.variance) ** 0.5
        shared = min(max(_covariance(error, norm), -most), most)
        return _norm(squared, Unit(reference.value, reference.variance, shared))

    def mse(self) -> Interval:
        """Mean squared error of one estimate: variance and squared bias."""
        return jackknifed(self._variances() + _pairs(_known(self.error)), log=True)

    def snr(self) -> Interval:
        """Norm of the mean over the root of the variance."""
        batches, variances = len(self.traces), self._variances()
        each = batches * variances[0] - (batches - 1) * variances[1:]
        with_norm = np.cov(self.own.mean(1), each)[0, 1]
        trace = Unit(float(variances[0]), float(each.var(ddof=1)) / batches, 2 * with_norm / batches)
        return _root(SquaredNorm.of(self.own).interval(trace))

    def cosine(self) -> Interval:
        """Cosine between the mean of the estimate and the reference.

        Near 1, where a cosine's error is not linear, it is computed from the squared sine: the squared norm of the part
        orthogonal to the reference, divided by the squared norm. NaN if either mean is below the resolution.
        """
        norms = SquaredNorm.of(self.own), SquaredNorm.of(_known(self.norm))
        if not all(norm.interval().low > 0 for norm in norms):
            return ANYTHING
        own, across, norm = (_pairs(gram) for gram in (self.own, _known(self.across), _known(self.norm)))
        if not (own * norm > 0).all():
            return ANYTHING
        found = jackknifed(across / np.sqrt(own * norm))
        if found.value**2 < 0.5:
            return Interval(*np.clip(found, -1.0, 1.0).tolist())
        return self._by_sine(found.value, norms[0])

    def _by_sine(self, cosine: float, norm: SquaredNorm) -> Interval:
        own, across, reference = self.own, _known(self.across), _known(self.norm)
        # the residual of the estimate's means after regression on the reference's
        slope = float(_pairs(across)[0] / _pairs(reference)[0])
        rest = own - slope * (across + across.T) + slope**2 * reference
        # the regression removes the noise along the reference, which is one dimension
        along = across.mean(1) - slope * reference.mean(1)
        noise = along - along.mean()
        squared = SquaredNorm.of(rest - np.outer(noise, noise) / reference.mean()).interval(norm)
        # an angle below the rounding error counts as 0
        sines = [min(end, 1.0) if end > 1e-12 else 0.0 for end in (squared.low, squared.high)]
        ends = [math.copysign((1 - sine) ** 0.5, cosine) for sine in sines]
        value = min(max(cosine, -1.0), 1.0)
        return Interval(value, min(*ends, value), max(*ends, value))


def _known(gram: Floats | None) -> Floats:
    if gram is None:
        raise ValueError("there is no reference to compare with")
    return gram


def variance_interval(variances: Floats) -> Interval:
    """The mean of independent batches' variances, with the jackknife's interval of its logarithm."""
    return jackknifed(_means(variances), log=True)


def contributing(variances: Floats) -> float:
    """The effective number of estimates behind a variance, from the variances of batches; 0 if the variance is 0.

    If all of it came from k estimates of equal size among very many, its relative error would be one over the root of
    k; here that error is known from the batches. Of n normal estimates it is n / 2, of n in which a rare event takes
    place k times it is k.
    """
    mean, scatter = float(variances.mean()), float(variances.var(ddof=1))
    if mean <= 0:
        return 0.0
    return len(variances) * mean**2 / scatter if scatter > 0 else math.inf


def log_mean(values: Floats) -> Interval:
    """Natural logarithm of the mean of independent values; NaN where it is not above 0."""
    means = _means(values)
    return jackknifed(np.log(means)) if (means > 0).all() else NOTHING


def _norm(squared: SquaredNorm, per: Unit | None = None) -> Interval:
    """The norm, from its square; if noise makes the whole interval negative, the smallest detectable norm."""
    found = squared.interval(per)
    return _root(found if found.high > 0 else squared._replace(value=0.0).interval(per))


def _root(squared: Interval) -> Interval:
    return Interval(*np.sqrt(np.maximum(squared, 0.0)).tolist())


def _covariance(one: Floats, other: Floats) -> float:
    """Covariance of the U-statistics of two Gram matrices from the same batches."""
    batches = len(one)
    pairs = ~np.eye(batches, dtype=bool)
    centred = [gram - gram.mean(0) - gram.mean(1)[:, None] + gram.mean() for gram in (one, other)]
    # rows' means hold the noise of pairs twice
    rows = np.cov(one.mean(1), other.mean(1))[0, 1]
    return float(4 * rows / batches - 2 * np.mean(centred[0][pairs] * centred[1][pairs]) / (batches * (batches - 1)))


def _means(values: Floats) -> Floats:
    """The mean of the values of all batches, and without each batch."""
    weights = left_out(len(values))
    return np.asarray(weights @ values / weights.sum(1))


def _pairs(gram: Floats) -> Floats:
    """The mean over pairs of different batches, for all batches and without each batch."""
    weights = left_out(len(gram))
    used = weights.sum(1)
    total = ((weights @ gram) * weights).sum(1) - weights @ np.diag(gram)
    return np.asarray(total / (used * (used - 1)))
