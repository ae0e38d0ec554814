"""What the moments of an estimate and of its reference say, with intervals."""

import numpy as np
from torch import Tensor

from estbench.engine.moments.moments import Moments
from estbench.stats import Floats, GradientFigures, Interval, variance_interval


def compared(estimate: Moments, reference: Moments | None) -> GradientFigures:
    """What the moments of an estimate and of its reference say; None where there is no reference."""
    own, traces = estimate.means, estimate.variances.cpu().numpy()
    if reference is None:
        return GradientFigures(traces, own.shape[1], _gram(own, own))
    other, gap = reference.means, own - reference.means
    norm, error = _gram(other, other), _gram(gap, gap)
    # what rounding alone can make of two equal gradients is no bias
    rounding = (100 * max(estimate.eps, reference.eps)) ** 2
    if np.abs(error).max() <= rounding * np.abs(norm).max():
        error = np.zeros_like(error)
    return GradientFigures(traces, own.shape[1], _gram(own, own), _gram(own, other), norm, error)


def per_coordinate(trace: Interval, coordinates: int) -> Interval:
    """A trace over the number of coordinates."""
    return Interval(*(end / coordinates for end in trace))


def relative_half_width(moments: Moments) -> float:
    """Half the width of the variance's interval, over the variance; 0 where there is none."""
    variance = variance_interval(moments.variances.cpu().numpy())
    return (variance.high - variance.low) / 2 / variance.value if variance.value else 0.0


def _gram(left: Tensor, right: Tensor) -> Floats:
    return (left @ right.T).cpu().numpy()
