"""Draws the moments of an estimator's gradient, and computes or estimates those of the true gradient."""

import contextlib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor

from estbench.core.estimator import Estimator, NotApplicableError
from estbench.core.program import Program, mean, run
from estbench.engine.base import Bench
from estbench.engine.moments.moments import (
    BATCHES,
    Gradients,
    Moments,
    chunk_size,
    largest_tensor,
    moments,
    working_set,
)
from estbench.engine.moments.resolution import Chances
from estbench.engine.moments.rounding import rounding
from estbench.engine.moments.routes import route
from estbench.engine.moments.stopping import Parts, Replication
from estbench.engine.moments.variables import Variables

NOTHING: Parts = MappingProxyType({})


@dataclass(frozen=True)
class DrawnMoments:
    """Moments by part.

    Args:
        parts: the moments.
        chunk: how many replicates were computed at once.
        note: why the replicates were drawn in a loop; empty if they were not.
    """

    parts: Parts
    chunk: int
    note: str = ""


@dataclass(frozen=True)
class Drawing:
    """How replicates are drawn.

    Args:
        replication: the rule for their number.
        budget: bytes of memory for the replicates that are computed at once; 0 for the default of the device.
        chunk: how many are computed at once; 0 for as many as fit into the budget.
    """

    replication: Replication
    budget: int
    chunk: int = 0

    def draw(
        self,
        bench: Bench,
        variables: Variables,
        estimator: Estimator,
        stream: tuple[int | str, ...],
        earlier: Parts = NOTHING,
    ) -> DrawnMoments:
        """Moments of an estimator's gradient.

        Args:
            bench: the bench.
            variables: the variables with respect to which the gradient is taken.
            estimator: the estimator, measured in its current mode.
            stream: seed of the random stream.
            earlier: moments of fewer replicates of the same random stream.
        """
        estimator.eval()
        with torch.no_grad():
            found = self._drawn(bench, variables, estimator, stream, earlier)
        estimator.train()
        return found

    def again(
        self, bench: Bench, variables: Variables, estimator: Estimator, stream: tuple[int | str, ...], replicates: int
    ) -> Parts:
        """Moments of other replicates, independent of those of ``draw``, by group, and of the value.

        Args:
            bench: the bench.
            variables: the variables with respect to which the gradient is taken.
            estimator: the estimator, measured in its current mode.
            stream: the random stream of ``draw``.
            replicates: their number.
        """
        other = replace(self, replication=Replication(replicates))
        with bench.aside("again"):
            return variables.with_value(other.draw(bench, variables, estimator, ("again", *stream)).parts)

    def _drawn(
        self, bench: Bench, variables: Variables, estimator: Estimator, stream: tuple[int | str, ...], earlier: Parts
    ) -> DrawnMoments:
        parts = (*variables.parts, variables.value)
        known = {part: earlier[part] for part in parts if part in earlier}
        way = route(bench, variables, estimator)
        gradient = variables.gradient(estimator, variables.point.program, mapped=way.mapped)
        bench.sow(*stream, variables.name)
        chunk = self._chunk(gradient, bench) if way.mapped else BATCHES
        seeds = functools.partial(bench.stream, *stream, variables.name)
        found = self.replication.draw(
            lambda goal, have: moments(gradient, goal, chunk, seeds, have, variables.weights, looped=not way.mapped),
            lambda have: variables.grouped(have).values(),
            known if len(known) == len(parts) else NOTHING,
            self._resolved(bench, variables, estimator, stream),
        )
        return DrawnMoments(found, min(chunk, next(iter(found.values())).n) if way.mapped else 1, way.reason)

    def _resolved(
        self, bench: Bench, variables: Variables, estimator: Estimator, stream: tuple[int | str, ...]
    ) -> Callable[[Parts], bool]:
        """Says whether moments are resolved; asked only if a precision is requested."""

        def resolved(have: Parts) -> bool:
            n = next(found.n for found in have.values())
            again = functools.cache(functools.partial(self.again, bench, variables, estimator, stream, n))
            found = Chances.of(bench, variables, estimator).resolved(variables.grouped(have), again)
            estimator.eval()
            return found

        return resolved

    def _chunk(self, gradient: Callable[[], Gradients], bench: Bench) -> int:
        """How many replicates are made at once, by the memory that one takes."""
        return self.chunk or chunk_size(working_set(gradient), self.budget, bench.device, largest_tensor(gradient))


@dataclass(frozen=True)
class Reference:
    """The true gradient: exact if it can be computed, otherwise estimated by the baseline.

    Args:
        drawing: how the baseline's replicates are drawn.
    """

    drawing: Drawing

    def parts(self, bench: Bench, variables: Variables, bound: int, *, again: bool = False) -> Parts | None:
        """The moments by part; None if there is neither an exact gradient nor a baseline.

        Args:
            bench: the bench.
            variables: the variables with respect to which the gradient is taken.
            bound: the objective, as in ``Estimator.bound``.
            again: whether an estimated reference is made of other replicates, independent of the first.
        """
        point = variables.point
        stream = ("again", "reference", point.name) if again else ("reference", point.name)
        if point.own:
            return self._parts(bench, variables, bound, stream)
        memo = (*stream, point.step, point.seed, point.free, variables.parts, bound, self)
        return bench.once(memo, lambda: self._parts(bench, variables, bound, stream))

    def _parts(self, bench: Bench, variables: Variables, bound: int, stream: tuple[str, ...]) -> Parts | None:
        if variables.point.varies:
            return self._over_draws(bench, variables, bound, stream)
        exact = self.exact(bench, variables, bound)
        if exact is not None:
            try:
                return {part: Moments.exact(value.detach()) for part, value in exact().items()}
            except NotApplicableError:
                pass
        if bound > 1:
            return None
        return self._by_baseline(bench, variables, stream)

    def _over_draws(self, bench: Bench, variables: Variables, bound: int, stream: tuple[str, ...]) -> Parts | None:
        """The mean of the oracle's gradient, or else of the baseline's, over the model's own random numbers."""
        if bench.oracle is not None:
            with contextlib.suppress(NotApplicableError):
                return self.drawing.draw(bench, variables, bench.oracle(bound), stream).parts
        return self._by_baseline(bench, variables, stream) if bound == 1 else None

    def _by_baseline(self, bench: Bench, variables: Variables, stream: tuple[str, ...]) -> Parts:
        baseline = bench.baseline().to(bench.device).prepare(variables.point.program())
        return self.drawing.draw(bench, variables, baseline, stream).parts

    def exact(self, bench: Bench, variables: Variables, bound: int) -> Callable[[], Gradients] | None:
        """A function that computes the exact gradient by part; None if there is none, or too much to enumerate.

        Args:
            bench: the bench.
            variables: the variables with respect to which the gradient is taken.
            bound: the objective, as in ``Estimator.bound``.
        """
        point = variables.point

        def closed_form() -> Program:
            # this is None either for every minibatch or for none
            return cast("Program", point.held.running(lambda: bench.task.closed_form(point.model, point.batch)))

        # there is no closed form for numbers that a program draws itself
        if bound == 1 and not point.held.draws_inside and closed_form() is not None:
            return functools.partial(variables.single, lambda program: run(program, mean)[0].mean(), closed_form)
        return None if bench.oracle is None else functools.partial(variables.single, bench.oracle(bound), point.program)

    def rounding(self, bench: Bench, variables: Variables, bound: int) -> Mapping[str, float]:
        """A bound on the rounding error of the exact gradient, by group."""
        exact = self.exact(bench, variables, bound)
        if exact is None:
            return {}
        memo = ("rounding", variables.point.name, variables.parts, bound, self)
        return bench.once(memo, lambda: rounding(bench, variables, exact))


def to_state(parts: Parts) -> dict[str, dict[str, Any]]:
    """Moments as the state of a journal."""
    return {part: vars(moments) for part, moments in parts.items()}


def from_state(parts: Mapping[str, Mapping[str, Any]], device: torch.device) -> Parts:
    """Moments from the state of a journal."""

    def there(value: Any) -> Any:
        return value.to(device) if isinstance(value, Tensor) else value

    return {part: Moments(**{name: there(value) for name, value in own.items()}) for part, own in parts.items()}
