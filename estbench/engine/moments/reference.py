"""Moments of an estimator's gradient, and of the true one."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from estbench.core.estimator import Estimator, NotApplicableError
from estbench.core.program import Program, mean, run
from estbench.engine.base import Bench
from estbench.engine.moments.moments import Gradients, Moments, chunk_size, largest_tensor, moments, working_set
from estbench.engine.moments.points import Point
from estbench.engine.moments.resolution import Chances
from estbench.engine.moments.rounding import rounding
from estbench.engine.moments.stopping import Parts, Replication
from estbench.engine.moments.variables import Variables

NOTHING: Parts = MappingProxyType({})


@dataclass(frozen=True)
class Drawn:
    """Moments by part, and how many replicates were in flight at once."""

    parts: Parts
    chunk: int


@dataclass(frozen=True)
class Drawing:
    """How replicates are drawn.

    Args:
        replication: how many.
        budget: bytes of memory for those in flight; 0 finds it.
        chunk: how many are in flight at once; 0 for as many as fit into the budget.
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
    ) -> Drawn:
        """Moments of an estimator's gradient.

        Args:
            bench: the bench.
            variables: what the gradient is taken with respect to.
            estimator: measured as it is.
            stream: of random numbers.
            earlier: moments of fewer replicates, of the same stream.
        """
        stream = (*stream, variables.name)
        known = {part: earlier[part] for part in variables.parts if part in earlier}
        chances = Chances.of(bench, variables, estimator) if self.replication.precision else None
        estimator.eval()
        with torch.no_grad():
            gradient = variables.gradient(estimator, variables.point.program)
            bench.sow(*stream)
            chunk = self.chunk or chunk_size(working_set(gradient), self.budget, bench.device, largest_tensor(gradient))
            seeds = functools.partial(bench.stream, *stream)
            found = self.replication.draw(
                lambda goal, have: moments(gradient, goal, chunk, seeds, have, variables.weights),
                lambda have: variables.grouped(have).values(),
                known if len(known) == len(variables.parts) else NOTHING,
                lambda have: chances is None or chances.resolved(variables.grouped(have)),
            )
        estimator.train()
        return Drawn(found, min(chunk, next(iter(found.values())).n))


@dataclass(frozen=True)
class Reference:
    """The true gradient: exact where it can be had, else estimated by the baseline.

    Args:
        drawing: of the baseline.
    """

    drawing: Drawing

    def parts(self, bench: Bench, variables: Variables, bound: int) -> Parts | None:
        """Its moments by part; None where there is neither.

        Args:
            bench: the bench.
            variables: what the gradient is taken with respect to.
            bound: the objective, as of an estimator.
        """
        if variables.point.own:
            return self._parts(bench, variables, bound)
        memo = ("reference", variables.point.step, variables.parts, bound, self)
        return bench.once(memo, lambda: self._parts(bench, variables, bound))

    def _parts(self, bench: Bench, variables: Variables, bound: int) -> Parts | None:
        exact = self.exact(bench, variables, bound)
        if exact is not None:
            try:
                return {part: Moments.exact(value.detach()) for part, value in exact().items()}
            except NotApplicableError:
                pass
        if bound > 1:
            return None
        baseline = bench.baseline().to(bench.device).prepare(variables.point.program())
        return self.drawing.draw(bench, variables, baseline, ("reference", variables.point.name)).parts

    def exact(self, bench: Bench, variables: Variables, bound: int) -> Callable[[], Gradients] | None:
        """What gives the exact gradient by part, unless there is too much to enumerate; None where nothing does.

        Args:
            bench: the bench.
            variables: what the gradient is taken with respect to.
            bound: the objective, as of an estimator.
        """
        point = variables.point
        form = bench.task.closed_form(point.model, point.batch) if bound == 1 else None
        if form is not None:
            return variables.gradient(lambda program: run(program, mean)[0].mean(), lambda: _closed_form(bench, point))
        return None if bench.oracle is None else variables.gradient(bench.oracle(bound), point.program)

    def rounding(self, bench: Bench, variables: Variables, bound: int) -> Mapping[str, float]:
        """How far the exact gradient may be off by rounding, by group."""
        exact = self.exact(bench, variables, bound)
        if exact is None:
            return {}
        memo = ("rounding", variables.point.name, variables.parts, bound, self)
        return bench.once(memo, lambda: rounding(bench, variables, exact))


def _closed_form(bench: Bench, point: Point) -> Program:
    """The task's program of the expected cost, of parameters as they are at the time of the call."""
    found = bench.task.closed_form(point.model, point.batch)
    assert found is not None
    return found


def kept(parts: Parts) -> dict[str, dict[str, Any]]:
    """Moments as a journal takes them."""
    return {part: vars(moments) for part, moments in parts.items()}


def loaded(parts: Mapping[str, Mapping[str, Any]], device: torch.device) -> Parts:
    """Moments as a journal gives them back."""

    def there(value: Any) -> Any:
        return value.to(device) if isinstance(value, Tensor) else value

    return {part: Moments(**{name: there(value) for name, value in own.items()}) for part, own in parts.items()}
