"""Metrics of gradient estimates, with intervals, from the moments of an estimate and of its reference."""

import math

import numpy as np
import torch
from torch import Tensor

from estbench.engine.moments.moments import BATCHES, Moments
from estbench.stats import SIGNIFICANCE, Floats, GradientMetrics, Interval, mean_interval

# two equal gradients may differ by this many machine epsilons of their norm through rounding alone
FLOOR = 100


def compared(estimate: Moments, reference: Moments | None, rounding: float = 0.0) -> GradientMetrics:
    """Compares the moments of an estimate with those of its reference.

    Args:
        estimate: moments of the estimate.
        reference: moments of the true gradient; None if it is unknown.
        rounding: bound on the norm of the rounding error of one gradient. The mean error is reduced by it, and a
            standard deviation below it counts as 0, so that rounding is reported neither as bias nor as variance.
    """
    own, traces, per_batch = estimate.means, estimate.variances.cpu().numpy(), max(estimate.n // BATCHES, 1)
    eps = max(moments.eps for moments in (estimate, reference) if moments is not None)
    rounding = max(rounding, FLOOR * eps * float((own if reference is None else reference.means).mean(0).norm()))
    if traces.mean() <= rounding**2:
        traces, own = np.zeros_like(traces), own.mean(0).expand_as(own)
    if reference is None:
        return GradientMetrics(traces, own.shape[1], per_batch, _gram(own, own))
    other, gap = reference.means, own - reference.means
    error = gap.mean(0)
    length = float(error.norm())
    gap = gap - error * (min(1.0, rounding / length) if length > 0 else 1.0)
    if length <= rounding and not traces.any():
        gap = torch.zeros_like(gap)
    return GradientMetrics(
        traces, own.shape[1], per_batch, _gram(own, own), _gram(own, other), _gram(other, other), _gram(gap, gap)
    )


def value_bias(estimate: Moments, reference: Moments) -> Interval:
    """The mean of an estimator's value minus the objective, with Student's interval from the batches.

    Args:
        estimate: moments of the value.
        reference: moments of the objective: exact, or of another estimator's value.
    """
    gap = (estimate.means - reference.means)[:, 0].cpu().numpy()
    rounding = FLOOR * max(estimate.eps, reference.eps) * float(reference.means.abs().mean())
    error = float(gap.mean())
    # an error that rounding can explain is no bias, and a spread that it can explain no variance
    gap = gap - math.copysign(min(abs(error), rounding), error)
    return mean_interval(np.zeros_like(gap) if float(np.abs(gap).max()) <= rounding else gap)


def may_be_rounding(known: GradientMetrics) -> bool:
    """Whether a bias or a variance was found that rounding may explain.

    This is a variance or a bias that is small compared with the gradient, or a bias larger than the standard deviation
    of one estimate: the replicates of an exact gradient share a rounding error and hardly differ otherwise.
    """
    if known.norm is None or known.error is None or not (known.traces.any() or known.error.any()):
        return False
    norm, error, variance = (float(of.mean()) for of in (known.norm, known.error, known.traces))
    found = known.unbiased_p() < SIGNIFICANCE and (error <= 1e-4 * norm or variance <= error)
    return found or variance <= 1e-6 * norm


def exactly_true(known: GradientMetrics) -> bool:
    """Whether an estimate has neither variance nor bias, to rounding."""
    return known.error is not None and not known.traces.any() and not known.error.any()


def per_coordinate(trace: Interval, coordinates: int) -> Interval:
    """A trace divided by the number of coordinates, with its interval."""
    return Interval(*(end / coordinates for end in trace))


def relative_half_width(moments: Moments) -> float:
    """Half the width of the variance's interval divided by the variance; 0 if the variance is 0."""
    variance = compared(moments, None).variance()
    return (variance.high - variance.low) / 2 / variance.value if variance.value else 0.0


def _gram(left: Tensor, right: Tensor) -> Floats:
    return (left @ right.T).cpu().numpy()
