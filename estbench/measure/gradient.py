"""Gradient: bias, variance, signal-to-noise ratio and evaluations of the cost.

All estimators are measured at the same points: the initial parameters, and those after training with the
task's baseline estimator, on one fixed minibatch. What an estimator learns (baselines, temperatures) it
learns alongside that training.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad

from estbench.estimator import Estimator, NotApplicableError
from estbench.measure._moments import (
    Comparison,
    Gradients,
    Moments,
    chunk_size,
    moments,
    working_set,
)
from estbench.measure.base import Bench, Maker, Measure, Row
from estbench.networks import with_parameters
from estbench.node import Node
from estbench.program import Program, Sample, draw, mean, run
from estbench.stats import Interval
from estbench.task import Batch

# bytes of moments that are kept for more replicates to be added to; beyond that, more replicates start anew
KEPT = 2**24


class Gradient(Measure):
    """Moments of the gradient estimate, with respect to logits and to the encoder's parameters.

    Args:
        replicates: independent estimates per point; more of them are added to those that are there.
        reference_replicates: estimates of the baseline behind a reference that is not exact.
        after: training steps of the baseline estimator after which the gradient is measured a second time;
            0 measures at the initial parameters only.
        budget: bytes of memory for the replicates in flight.
    """

    budgets = ("replicates",)

    def __init__(
        self,
        replicates: int = 1024,
        reference_replicates: int = 4096,
        after: int = 300,
        budget: int = 2**24,
    ) -> None:
        if replicates < 64 or reference_replicates < 64:
            raise ValueError(f"an interval needs at least 64 replicates; got {replicates=}, {reference_replicates=}")
        if after < 0:
            raise ValueError(f"steps of training cannot be negative; got {after=}")
        self.replicates, self.reference_replicates = replicates, reference_replicates
        self.after, self.budget = after, budget

    def rows(self, bench: Bench, makers: Mapping[str, Maker]) -> Iterator[tuple[str, Row]]:
        for key, maker in makers.items():
            estimator = maker().to(bench.device)
            earlier = (bench.journal.furthest("replicates", self.replicates) or {}).get("points", {})
            points: dict[str, dict[str, Any]] = {}
            for point in self._points(bench, estimator):
                stream = ("estimate", point.step, key, bench.cell)
                known = _loaded(earlier.get(str(point.step), {}), bench.device)
                found = self._moments(bench, point, estimator, self.replicates, stream, known)
                points[str(point.step)] = {group: vars(own) for group, own in found.items()}
                for row in self._measure(bench, point, estimator, found):
                    yield key, row
            if sum(kept["means"].nbytes for groups in points.values() for kept in groups.values()) <= KEPT:
                bench.journal.keep({"replicates": self.replicates, "points": points}, done=True)

    def _measure(
        self, bench: Bench, point: "_Point", estimator: Estimator, found: Mapping[str, Moments]
    ) -> Iterator[Row]:
        memo = ("reference", point.step, estimator.bound, self.reference_replicates)
        reference = bench.once(memo, lambda: self._reference(bench, point, estimator.bound))
        for group, own in found.items():
            yield from _rows(group, own, (reference or {}).get(group), point.step)
        yield Row("evaluations", *Interval(*[float(point.evaluations(estimator))] * 3), step=point.step)

    def _points(self, bench: Bench, estimator: Estimator) -> Iterator["_Point"]:
        """The points of measurement, the estimator having learned alongside."""
        start = bench.model()
        batch = next(bench.minibatches(bench.splits().train))
        bench.sow("prepare")
        estimator.prepare(start(*batch))
        yield _Point(0, start, batch)
        if not self.after:
            return
        learns = [*estimator.parameters(), *estimator.buffers()]
        if learns:
            yield _Point(self.after, train_along(bench, self.after, estimator), batch)
        else:
            trained = bench.once(("trained", self.after), lambda: train_along(bench, self.after, None))
            yield _Point(self.after, trained, batch)

    def _moments(
        self,
        bench: Bench,
        point: "_Point",
        estimator: Estimator,
        replicates: int,
        stream: tuple[int | str, ...],
        earlier: Mapping[str, Moments] = MappingProxyType({}),
    ) -> dict[str, Moments]:
        estimator.eval()
        found: dict[str, Moments] = {}
        gradients = {"logits": point.logit_gradient(estimator), "encoder": point.encoder_gradient(estimator)}
        with torch.no_grad():
            for group, gradient in gradients.items():
                if gradient:
                    bench.sow(*stream, group)
                    chunk = chunk_size(working_set(gradient), self.budget)
                    sow = functools.partial(bench.sow, *stream, group)
                    known = {group: earlier[group]} if group in earlier else {}
                    found |= moments(gradient, replicates, chunk, sow, known)
        estimator.train()
        return found

    def _reference(self, bench: Bench, point: "_Point", bound: int) -> dict[str, Moments] | None:
        """Moments of the true gradient: exact where it can be had, else of the baseline; None if neither."""
        exact = point.closed_form(bench) if bound == 1 else None
        if exact is None and bench.oracle:
            try:
                oracle = bench.oracle(bound)
                encoder = point.encoder_gradient(oracle)
                exact = {**point.logit_gradient(oracle)(), **(encoder() if encoder else {})}
            except NotApplicableError:
                pass
        if exact is not None:
            return {group: Moments.exact(value.detach()) for group, value in exact.items()}
        if bound > 1:
            return None

        stream = ("reference", point.step)
        return self._moments(bench, point, bench.baseline(), self.reference_replicates, stream)


def _loaded(kept: Mapping[str, Mapping[str, Any]], device: torch.device) -> dict[str, Moments]:
    """Moments as a journal gives them back."""
    loaded = {}
    for group, own in kept.items():
        means, variances = own["means"].to(device), own["variances"].to(device)
        loaded[group] = Moments(own["n"], means, variances, own["eps"])
    return loaded


def train_along(bench: Bench, steps: int, follower: Estimator | None) -> nn.Module:
    """The model after training with the baseline; a follower learns on the same minibatches."""
    model, leader = bench.model(), bench.baseline().to(bench.device)
    minibatches = bench.minibatches(bench.splits().train)
    bench.sow("leader")
    leader.prepare(model(*next(bench.minibatches(bench.splits().train))))
    lead = bench.task.trainer(model, leader)
    follow = bench.task.trainer(None, follower) if follower is not None else None
    for step, batch in zip(range(steps), minibatches, strict=False):
        if follower is not None and follow is not None:
            bench.sow("following", step, bench.cell)
            follow.zero_grad()
            follower(model(*batch)).backward()
            follow.step()
        # a follower uses up random numbers; the trajectory must not depend on it
        bench.sow("trajectory", step)
        lead.zero_grad()
        model.zero_grad()
        leader(model(*batch)).backward()
        lead.step()
    return model


@dataclass(frozen=True)
class _Point:
    """Parameters and a minibatch at which gradients are measured."""

    step: int
    model: nn.Module
    batch: Batch

    def program(self) -> Program:
        return self.model(*self.batch)

    def nodes(self) -> dict[str, Node]:
        with torch.no_grad():
            return {name: site.node for name, site in run(self.program(), draw)[1].items()}

    def evaluations(self, estimator: Estimator) -> int:
        return estimator.evaluations([*self.nodes().values()])

    def logit_gradient(self, estimator: Estimator) -> Callable[[], Gradients]:
        """One gradient for a shift of the logits, shared by the samples; of all nodes together."""
        program = self.program()
        shifts = {name: torch.zeros_like(node.logits) for name, node in self.nodes().items()}
        return lambda: {"logits": _flat(grad(lambda s: estimator(shifted(program, s)))(shifts))}

    def encoder_gradient(self, estimator: Estimator) -> Callable[[], Gradients] | None:
        """One gradient for the parameters of the encoder; None if the model has none."""
        own = self._encoder()

        def loss(parameters: dict[str, Any]) -> Tensor:
            # the program itself reads parameters of later layers
            return with_parameters(self.model, parameters, lambda: estimator(self.program()))

        return (lambda: {"encoder": _flat(grad(loss)(own))}) if own else None

    def closed_form(self, bench: Bench) -> Gradients | None:
        """The exact gradient of a task that knows its expected cost."""
        program = bench.task.closed_form(self.model, self.batch)
        if program is None:
            return None
        shifts = {name: torch.zeros_like(node.logits) for name, node in self.nodes().items()}
        found = {"logits": _flat(grad(lambda s: run(shifted(program, s), mean)[0].mean())(shifts))}

        def encoded(parameters: dict[str, Any]) -> Tensor:
            def cost() -> Tensor:
                anew = bench.task.closed_form(self.model, self.batch)
                assert anew is not None
                return run(anew, mean)[0].mean()

            return with_parameters(self.model, parameters, cost)

        own = self._encoder()
        return {**found, "encoder": _flat(grad(encoded)(own))} if own else found

    def _encoder(self) -> dict[str, Tensor]:
        return {k: p.detach() for k, p in self.model.named_parameters() if k.startswith("encoder.")}


def shifted(program: Program, shifts: Mapping[str, Tensor]) -> Program:
    """A program whose logits are moved, by name of the node; all samples of a node alike."""

    def moved(sample: Sample) -> Tensor:
        return program(lambda name, node: sample(name, node.at(node.logits + shifts[name])))

    return moved


def _flat(tensors: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors.values()])


def _rows(group: str, own: Moments, reference: Moments | None, step: int) -> Iterator[Row]:
    compared = Comparison(own, reference)
    figures = [compared.variance, compared.snr]
    if reference is not None:
        figures += [
            compared.bias,
            compared.squared_bias,
            compared.relative_bias,
            compared.mse,
            compared.cosine,
        ]
        p = compared.unbiased_p()
        yield Row(f"unbiased_p/{group}", p, n=own.n, step=step)
    for figure in figures:
        yield Row(f"{figure.__name__}/{group}", *figure(), n=own.n, step=step)
    if reference is None:
        yield Row(
            f"bias/{group}",
            step=step,
            status="not applicable",
            error="no reference: the multi-sample bound is too large to enumerate",
        )
