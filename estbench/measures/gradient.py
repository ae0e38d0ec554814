"""The measure ``gradient``: bias, variance, signal-to-noise ratio, bias of the value, and evaluations of the cost.

All estimators are measured at the same points of one training run with the task's baseline estimator: at the initial
and at later parameters, on one fixed minibatch. An estimator's own parameters (baselines, temperatures) are trained
alongside. Estimators can also be measured along their own training runs.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import torch
from torch import nn

from estbench.core.estimator import Estimator, NotApplicableError
from estbench.core.program import draw, lengths, run
from estbench.core.task import Batch
from estbench.engine.base import Bench, MakeEstimator, Measure, Row
from estbench.engine.model_state import ModelState
from estbench.engine.moments import trajectory
from estbench.engine.moments.gradient_metrics import relative_half_width
from estbench.engine.moments.judged import Judged, exactly
from estbench.engine.moments.linear_layers import by_layers
from estbench.engine.moments.minibatch_variance import MinibatchVariance
from estbench.engine.moments.moments import Moments
from estbench.engine.moments.points import Point
from estbench.engine.moments.reference import Drawing, Reference, from_state, to_state
from estbench.engine.moments.stopping import Replication
from estbench.engine.moments.variables import DEFAULT, Groups, Parameters, children
from estbench.measures.metrics.gradient import METRICS
from estbench.runtime import shared_generators

# largest size in bytes of moments that are kept for later replicates; larger ones are not kept, and are drawn anew
KEPT = 2**24


class Gradient(Measure):
    """Moments of the gradient estimate, with respect to logits and to parameters of the model.

    Args:
        replicates: number of independent estimates per point; a larger number later adds to the kept replicates.
        reference_replicates: number of baseline estimates for a reference that is not exact.
        after: number of training steps at the last point; 0 measures at the initial parameters only.
        points: number of points of the training run, evenly spaced from 0 to ``after``.
        along: the training run: ``common``, with the baseline; ``own``, with the estimator itself; or ``both``.
        groups: variables with respect to which the gradient is taken, separated by spaces: ``logits``, of all nodes and
            of each node; a child of the model, such as ``encoder``, ``decoder`` or ``prior``; ``parameters``, all of
            them together; or ``all``. A group whose gradient does not depend on the samples is left out.
        minibatches: number of random minibatches for the total variance, which is decomposed into a sampling part and
            a minibatch part; for parameters only. 0 leaves it out.
        precision: the number of replicates doubles until the half-width of the variance's interval, relative to the
            variance, is at most this in every group. 0 draws ``replicates`` replicates.
        max_replicates: the largest number of replicates, if a precision is requested.
        budget: bytes of memory for the replicates that are computed at once; 0 for the default of the device.
        chunk: number of replicates computed at once, which decides their random numbers; 0 for as many as fit into the
            budget. Results record it as ``chunk/...``; with that number, another device with different memory gives
            the same values.
        model_noise: random numbers that the model draws itself, such as dropout masks: ``held``, one draw for the
            reference, all estimators and all replicates; or ``drawn``, anew in every replicate, and then part of the
            variance and of the reference's mean.
    """

    metrics = METRICS
    budgets = ("replicates", "max_replicates")

    def __init__(
        self,
        replicates: int = 1024,
        reference_replicates: int = 4096,
        after: int = 300,
        points: int = 2,
        along: Literal["common", "own", "both"] = "common",
        groups: str = DEFAULT,
        minibatches: int = 0,
        precision: float = 0.0,
        max_replicates: int = 2**16,
        budget: int = 0,
        chunk: int = 0,
        model_noise: Literal["held", "drawn"] = "held",
    ) -> None:
        _check(replicates, reference_replicates, after, points, minibatches, precision)
        if budget < 0 or chunk < 0:
            raise ValueError(f"memory and replicates in flight cannot be negative; got {budget=}, {chunk=}")
        self._drawing = Drawing(Replication(replicates, precision, max_replicates), budget, chunk)
        self._reference = Reference(Drawing(Replication(reference_replicates), budget, chunk))
        self._stops = trajectory.stops(after, points)
        self._along, self._groups = along, Groups.of(groups)
        self._minibatches = MinibatchVariance(minibatches, budget, chunk)
        self._free = model_noise == "drawn"

    def rows(self, bench: Bench, makers: Mapping[str, MakeEstimator]) -> Iterator[tuple[str, Row]]:
        # random streams seed them
        with shared_generators.restored():
            yield from self._rows(bench, makers)

    def _rows(self, bench: Bench, makers: Mapping[str, MakeEstimator]) -> Iterator[tuple[str, Row]]:
        for key, maker in makers.items():
            points = self._earlier(bench)
            for point, estimator in self._points(bench, maker):
                if not point.finite():
                    error = f"training diverged: parameters are not finite after {point.step} steps"
                    yield key, point.row(Row("variance", status="failed", error=error))
                    break
                found = dict(from_state(points.get(point.name, {}), bench.device))
                for row in self._at(bench, point, estimator, key, found):
                    yield key, point.row(row)
                points[point.name] = to_state(found)
                if bench.journal.due():
                    self._keep(bench, points)
            self._keep(bench, points, done=True)

    def _at(
        self, bench: Bench, point: Point, estimator: Estimator, key: str, found: dict[str, Moments]
    ) -> Iterator[Row]:
        """The rows of a point; ``found`` holds the earlier moments and receives the new ones."""
        place, loop = (point.name, key, bench.cell), ""
        wanted = self._groups.variables(bench, point)
        for index, variables in enumerate(by_layers(bench, wanted, estimator)):
            drawn = self._drawing.draw(bench, variables, estimator, ("estimate", *place), found)
            found |= drawn.parts
            reference = self._reference.parts(bench, variables, estimator.bound)
            truth = variables.grouped(reference) if reference is not None else {}
            again = functools.partial(self._drawing.again, bench, variables, estimator, ("estimate", *place))
            judged = Judged(bench, variables, estimator, self._reference, functools.cache(again))
            for group, own in variables.grouped(drawn.parts).items():
                yield from judged.rows(group, own, truth.get(group))
                yield from self._narrow(judged, group, own)
            if index == 0:
                yield judged.value(drawn.parts[variables.value], (reference or {}).get(variables.value))
            yield Row(f"chunk/{variables.name}", *exactly(drawn.chunk))
            loop = loop or drawn.note
        if notes := _notes(point, loop):
            yield Row("note", error="; ".join(notes))
        for variables in wanted:
            if isinstance(variables, Parameters):
                yield from self._minibatches.rows(bench, variables, estimator, ("minibatches", *place))
        yield Row("evaluations", *exactly(point.evaluations(estimator)))
        for name in self._groups.missing(point.model):
            there = ", ".join(children(point.model)) or "none"
            error = f"the model has no parameters called {name!r}; its own are {there}"
            yield Row(f"variance/{name}", status="not applicable", error=error)

    def _narrow(self, judged: Judged, group: str, own: Moments) -> Iterator[Row]:
        """The rows that say whether the requested precision was reached."""
        replication = self._drawing.replication
        if replication.precision:
            reached = replication.reached([own]) and judged.resolved(group, own)
            yield Row(f"precision/{group}", *exactly(relative_half_width(own)), n=own.n)
            yield Row(f"precision_reached/{group}", *exactly(reached), n=own.n)

    def _points(self, bench: Bench, maker: MakeEstimator) -> Iterator[tuple[Point, Estimator]]:
        """The points of measurement, each with the estimator in its state at that point."""
        batch, noise = next(bench.minibatches()), (bench.stream("model noise"), self._free)
        if self._along != "own":
            estimator = _prepared(bench, maker, batch)
            for step, model in zip(self._stops, self._common(bench, estimator), strict=True):
                yield Point(step, model, batch, False, *noise), estimator
        if self._along != "common":
            estimator = _prepared(bench, maker, batch)
            for step, model in zip(self._stops, trajectory.own(bench, self._stops, estimator), strict=True):
                yield Point(step, model, batch, True, *noise), estimator

    def _common(self, bench: Bench, estimator: Estimator) -> Iterable[nn.Module]:
        if [*estimator.parameters(), *estimator.buffers()]:
            return trajectory.common(bench, self._stops, estimator)
        memo = ("trajectory", tuple(self._stops))
        return bench.once(memo, lambda: list(trajectory.common(bench, self._stops, None)))

    def _earlier(self, bench: Bench) -> dict[str, Any]:
        """The kept moments of the same replicates (at most as many as requested), by point."""
        replication = self._drawing.replication
        state = bench.journal.furthest("limit", replication.limit) or {}
        same = state.get("replicates") == replication.replicates or not replication.precision
        return dict(state.get("points", {})) if same else {}

    def _keep(self, bench: Bench, points: Mapping[str, Any], *, done: bool = False) -> None:
        replication = self._drawing.replication
        if sum(own["means"].nbytes for parts in points.values() for own in parts.values()) <= KEPT:
            state = {"replicates": replication.replicates, "limit": replication.limit, "points": points}
            bench.journal.keep(state, done=done)


def _notes(point: Point, loop: str) -> list[str]:
    """How the gradients at a point were computed, if not as usual; ``loop`` is why they took a loop, if they did."""
    norms = "batch norms in the program use their running statistics, so that each sample has a cost of its own"
    return [*([f"replicates are drawn by a loop: {loop}"] if loop else []), *([norms] if point.held.norms else [])]


def _check(
    replicates: int, reference_replicates: int, after: int, points: int, minibatches: int, precision: float
) -> None:
    if replicates < 64 or reference_replicates < 64:
        raise ValueError(f"an interval needs at least 64 replicates; got {replicates=}, {reference_replicates=}")
    if after < 0:
        raise ValueError(f"steps of training cannot be negative; got {after=}")
    if points < 2:
        raise ValueError(f"a training has at least 2 points, its start and its end; got {points=}")
    if minibatches and minibatches < 64:
        raise ValueError(f"an interval needs at least 64 minibatches, or 0 for none; got {minibatches=}")
    if not 0 <= precision < 1:
        raise ValueError(f"a precision is a relative width below 1, such as 0.05; got {precision=}")


def _prepared(bench: Bench, maker: MakeEstimator, batch: Batch) -> Estimator:
    """The estimator, prepared for the model at the start of training.

    Raises:
        NotApplicableError: the estimator refuses the program, or there is nothing to estimate.
    """
    estimator, start = maker().to(bench.device), bench.model()
    bench.sow("prepare")
    with ModelState(start).held(), torch.no_grad():
        program = start(*batch)
        estimator.prepare(program)
        if not lengths(run(program, draw)[1]).any():
            raise NotApplicableError(
                "every sample is certain, so that there is no expectation that an estimator could be biased against"
            )
    return estimator
