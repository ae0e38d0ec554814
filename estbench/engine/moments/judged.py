"""The rows of an estimator's gradient at a point: its values, or why there are none."""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from estbench.core.estimator import Estimator
from estbench.engine.base import Bench, Row
from estbench.engine.moments.gradient_metrics import compared, exactly_true, may_be_rounding
from estbench.engine.moments.moments import Moments
from estbench.engine.moments.reference import Reference
from estbench.engine.moments.resolution import Chances, Resolution
from estbench.engine.moments.rounding import rounding
from estbench.engine.moments.variables import Variables
from estbench.stats import GradientMetrics, Interval

_OF_VARIANCE = ("variance", "variance_per_coordinate", "snr")
_OF_BIAS = ("bias", "squared_bias", "relative_bias", "mse", "cosine")


@dataclass(frozen=True)
class Judged:
    """An estimator at a point, as its moments are judged.

    Args:
        bench: the bench.
        variables: what the gradient is taken with respect to.
        estimator: whose moments they are.
        reference: what they are compared with.
    """

    bench: Bench
    variables: Variables
    estimator: Estimator
    reference: Reference

    @functools.cached_property
    def chances(self) -> Chances:
        """How much of chance there is in the gradient."""
        return Chances.of(self.bench, self.variables, self.estimator)

    @functools.cached_property
    def _rounding(self) -> Mapping[str, float]:
        """How far estimate and reference together may be off by rounding, by group."""
        self.estimator.eval()
        with torch.no_grad():
            gradient = functools.partial(self.variables.single, self.estimator, self.variables.point.program)
            own = rounding(self.bench, self.variables, gradient)
        self.estimator.train()
        true = self.reference.rounding(self.bench, self.variables, self.estimator.bound)
        return {group: distance + true.get(group, 0.0) for group, distance in own.items()}

    def rows(self, group: str, own: Moments, truth: Moments | None) -> Iterator[Row]:
        """The values of a group.

        Args:
            group: which.
            own: moments of the estimate.
            truth: of the reference; None where there is none.
        """
        known = compared(own, truth)
        exact = truth is not None and truth.n == 0
        if exact and may_be_rounding(known):
            known = compared(own, truth, self._rounding[group])
        found = self.chances.resolution(group, own, true=exact and exactly_true(known))
        about = found if found.reason or truth is None else self.chances.reference(group, truth)
        yield from _rows(known, _OF_VARIANCE, group, own.n, found)
        if not found.reason and known.variance().value > 0:
            yield Row(f"log_variance_per_coordinate/{group}", *known.log_variance_per_coordinate(), n=own.n)
        if truth is None:
            error = "no reference: the multi-sample bound is too large to enumerate"
            yield Row(f"bias/{group}", status="not applicable", error=error)
        else:
            yield from _rows(known, _OF_BIAS, group, own.n, about)
            if not about.reason:
                yield Row(f"unbiased_p/{group}", known.unbiased_p(), n=own.n)
        if found.needed:
            yield Row(f"replicates_needed/{group}", *exactly(found.needed), n=own.n)


def exactly(value: float) -> Interval:
    """A value without error."""
    return Interval(*[float(value)] * 3)


def _rows(known: GradientMetrics, names: tuple[str, ...], group: str, n: int, found: Resolution) -> Iterator[Row]:
    """Values by name; where they are not resolved, that they are not."""
    for name in names:
        if found.reason:
            yield Row(f"{name}/{group}", n=n, status="unresolved", error=f"{group}: {found.reason}")
        else:
            interval: Interval = getattr(known, name)()
            yield Row(f"{name}/{group}", *interval, n=n)
