"""What the moments of an estimate and of its reference say, with intervals."""

import numpy as np
import torch
from torch import Tensor

from estbench.engine.moments.moments import BATCHES, Moments
from estbench.stats import SIGNIFICANCE, Floats, GradientFigures, Interval

# what rounding alone makes of two equal gradients at least, in parts of their length and of the precision
FLOOR = 100


def compared(estimate: Moments, reference: Moments | None, rounding: float = 0.0) -> GradientFigures:
    """What the moments of an estimate and of its reference say.

    Args:
        estimate: moments of the estimate.
        reference: of the true gradient; None where it is not known.
        rounding: by how much, in the norm, rounding may have moved one gradient. Neither a bias nor a variance is made
            of that: what it may be is taken from the mean error, and a standard deviation below it is none.
    """
    own, traces, per_batch = estimate.means, estimate.variances.cpu().numpy(), max(estimate.n // BATCHES, 1)
    eps = max(moments.eps for moments in (estimate, reference) if moments is not None)
    rounding = max(rounding, FLOOR * eps * float((own if reference is None else reference.means).mean(0).norm()))
    if traces.mean() <= rounding**2:
        traces, own = np.zeros_like(traces), own.mean(0).expand_as(own)
    if reference is None:
        return GradientFigures(traces, own.shape[1], per_batch, _gram(own, own))
    other, gap = reference.means, own - reference.means
    error = gap.mean(0)
    length = float(error.norm())
    gap = gap - error * (min(1.0, rounding / length) if length > 0 else 1.0)
    if length <= rounding and not traces.any():
        gap = torch.zeros_like(gap)
    return GradientFigures(
        traces, own.shape[1], per_batch, _gram(own, own), _gram(own, other), _gram(other, other), _gram(gap, gap)
    )


def may_be_rounding(known: GradientFigures) -> bool:
    """Whether a bias or a variance was found that is small enough for rounding to explain it.

    A bias that is small beside the gradient, or larger than the standard deviation of one estimate, which replicates
    of an exact gradient make of their common rounding error; a variance that is small beside the gradient.
    """
    if known.norm is None or known.error is None or not (known.traces.any() or known.error.any()):
        return False
    norm, error, variance = (float(of.mean()) for of in (known.norm, known.error, known.traces))
    found = known.unbiased_p() < SIGNIFICANCE and (error <= 1e-4 * norm or variance <= error)
    return found or variance <= 1e-6 * norm


def exactly_true(known: GradientFigures) -> bool:
    """Whether an estimate has neither variance nor bias, to rounding."""
    return known.error is not None and not known.traces.any() and not known.error.any()


def per_coordinate(trace: Interval, coordinates: int) -> Interval:
    """A trace over the number of coordinates."""
    return Interval(*(end / coordinates for end in trace))


def relative_half_width(moments: Moments) -> float:
    """Half the width of the variance's interval, over the variance; 0 where there is none."""
    variance = compared(moments, None).variance()
    return (variance.high - variance.low) / 2 / variance.value if variance.value else 0.0


def _gram(left: Tensor, right: Tensor) -> Floats:
    return (left @ right.T).cpu().numpy()
