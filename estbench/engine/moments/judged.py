"""The rows of an estimator's gradient at a point: values of metrics, or the reason why there are none."""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch

from estbench.core.estimator import Estimator
from estbench.engine.base import Bench, Row
from estbench.engine.moments.gradient_metrics import compared, exactly_true, may_be_rounding, value_bias
from estbench.engine.moments.moments import Moments
from estbench.engine.moments.reference import Reference
from estbench.engine.moments.resolution import Chances, Resolution
from estbench.engine.moments.rounding import rounding
from estbench.engine.moments.stopping import Parts
from estbench.engine.moments.variables import Variables
from estbench.stats import GradientMetrics, Interval

_UNKNOWN = "no reference: the multi-sample bound is too large to enumerate"
_OF_VARIANCE = ("variance", "variance_per_coordinate", "snr")
_OF_BIAS = ("bias", "squared_bias", "relative_bias", "mse", "cosine")


@dataclass(frozen=True)
class Judged:
    """Computes the rows of an estimator at a point from its moments.

    Args:
        bench: the bench.
        variables: the variables with respect to which the gradient is taken.
        estimator: the estimator that was measured.
        reference: the true gradient, exact or estimated.
        again: draws so many other replicates, which decide whether those that are judged are enough; gives their
            moments by group, and those of the value.
    """

    bench: Bench
    variables: Variables
    estimator: Estimator
    reference: Reference
    again: Callable[[int], Parts]

    @functools.cached_property
    def chances(self) -> Chances:
        """How much the gradient depends on rare events."""
        return Chances.of(self.bench, self.variables, self.estimator)

    @functools.cached_property
    def _rounding(self) -> Mapping[str, float]:
        """A bound on the rounding error of estimate and reference together, by group."""
        self.estimator.eval()
        with torch.no_grad():
            gradient = functools.partial(self.variables.single, self.estimator, self.variables.point.program)
            own = rounding(self.bench, self.variables, gradient)
        self.estimator.train()
        true = self.reference.rounding(self.bench, self.variables, self.estimator.bound)
        return {group: distance + true.get(group, 0.0) for group, distance in own.items()}

    def rows(self, group: str, own: Moments, truth: Moments | None) -> Iterator[Row]:
        """The rows of a group.

        Args:
            group: name of the group.
            own: moments of the estimate.
            truth: moments of the reference; None if there is none.
        """
        known = compared(own, truth)
        exact = truth is not None and truth.n == 0
        if exact and may_be_rounding(known):
            known = compared(own, truth, self._rounding[group])
        other = functools.partial(self._other, group, own.n)
        found = self.chances.resolution(group, own, other, true=exact and exactly_true(known))
        about = found if found.reason or truth is None else self._of_reference(group, truth)
        yield from _rows(known, _OF_VARIANCE, group, own.n, found)
        if not found.reason and known.variance().value > 0:
            yield Row(f"log_variance_per_coordinate/{group}", *known.log_variance_per_coordinate(), n=own.n)
        if truth is None:
            yield Row(f"bias/{group}", status="not applicable", error=_UNKNOWN)
        else:
            yield from _rows(known, _OF_BIAS, group, own.n, about)
            if not about.reason:
                yield Row(f"unbiased_p/{group}", known.unbiased_p(), n=own.n)
        if found.needed:
            yield Row(f"replicates_needed/{group}", *exactly(found.needed), n=own.n)

    def resolved(self, group: str, own: Moments) -> bool:
        """Whether the moments of a group are resolved."""
        return not self.chances.resolution(group, own, functools.partial(self._other, group, own.n)).reason

    def value(self, own: Moments, truth: Moments | None) -> Row:
        """The row of the value's bias.

        Args:
            own: moments of the value.
            truth: moments of the objective; None if it is unknown.
        """
        if truth is None:
            return Row("value_bias", status="not applicable", error=_UNKNOWN)
        found = value_bias(own, truth)
        exact = truth.n == 0
        other = functools.partial(self._other, self.variables.value, own.n)
        about = self.chances.value(own, other, true=exact and found == (0.0, 0.0, 0.0))
        if not (about.reason or exact):
            about = self.chances.value(truth, functools.partial(self._other_reference, self.variables.value))
        if about.reason:
            return Row("value_bias", n=own.n, status="unresolved", error=f"value: {about.reason}")
        return Row("value_bias", *found, n=own.n)

    def _other(self, group: str, replicates: int) -> Moments:
        return self.again(replicates)[group]

    def _of_reference(self, group: str, truth: Moments) -> Resolution:
        return self.chances.reference(group, truth, functools.partial(self._other_reference, group))

    def _other_reference(self, group: str) -> Moments:
        with self.bench.aside("again"):
            parts = self.reference.parts(self.bench, self.variables, self.estimator.bound, again=True) or {}
        return self.variables.with_value(parts)[group]


def exactly(value: float) -> Interval:
    """A row of an exact value, whose interval has width 0."""
    return Interval(*[float(value)] * 3)


def _rows(known: GradientMetrics, names: tuple[str, ...], group: str, n: int, found: Resolution) -> Iterator[Row]:
    """The rows of these metrics, marked as unresolved if there are too few replicates."""
    for name in names:
        if found.reason:
            yield Row(f"{name}/{group}", n=n, status="unresolved", error=f"{group}: {found.reason}")
        else:
            interval: Interval = getattr(known, name)()
            yield Row(f"{name}/{group}", *interval, n=n)
