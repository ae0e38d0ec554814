r"""Variance over minibatches: the parts of the samples and of the choice of minibatch, by the law of total variance.

.. math:: \mathrm{tr\,Var}\, g = \mathbb E_B \,\mathrm{tr\,Var}(g \mid B) + \mathrm{tr\,Var}_B\, \mathbb E(g \mid B)

With two independent estimates on each of many independent minibatches, let :math:`a` be half their sum and :math:`h`
half their difference. Then :math:`\mathrm{Var}\,g = \mathrm{Var}\,a + \mathrm{Var}\,h`, the sampling part is
:math:`2\,\mathrm{Var}\,h`, and the minibatch part is :math:`\mathrm{Var}\,a - \mathrm{Var}\,h`.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor
from torch.func import vmap

from estbench.core.estimator import Estimator
from estbench.core.task import Batch
from estbench.engine.base import Bench, Row
from estbench.engine.moments.gradient_metrics import per_coordinate
from estbench.engine.moments.moments import (
    BATCHES,
    Gradients,
    Moments,
    Running,
    Seeds,
    chunk_size,
    fresh,
    largest_tensor,
    working_set,
)
from estbench.engine.moments.resolution import carried
from estbench.engine.moments.routes import route
from estbench.engine.moments.variables import Parameters
from estbench.runtime import shared_generators
from estbench.stats import Floats, log_mean, mean_interval, variance_interval


@dataclass(frozen=True)
class Halves:
    """Moments over minibatches, from two estimates on each minibatch.

    Args:
        sum: moments of half their sum.
        difference: moments of half their difference.
    """

    sum: Moments
    difference: Moments

    @property
    def total(self) -> Floats:
        """The total variance, from each batch."""
        return (self.sum.variances + self.difference.variances).cpu().numpy()

    def rows(self, group: str, again: "Callable[[], Halves]") -> Iterator[Row]:
        """The total variance and its parts.

        Args:
            group: name of the group.
            again: gives the moments over other minibatches, which decide whether these are enough if that is in doubt.
        """
        both, noise = (half.variances.cpu().numpy() for half in (self.sum, self.difference))
        total, coordinates, n = variance_interval(both + noise), self.sum.means.shape[1], self.sum.n
        minibatch = mean_interval(both - noise)
        found = carried(n, both + noise, lambda: again().total)
        if found.reason:
            for name in ("total_variance", "sampling_variance", "minibatch_variance"):
                yield Row(f"{name}/{group}", n=n, status="unresolved", error=found.reason)
            return
        yield Row(f"total_variance/{group}", *total, n=n)
        yield Row(f"sampling_variance/{group}", *variance_interval(2 * noise), n=n)
        # the difference may be negative, although the variance that it estimates is not
        yield Row(
            f"minibatch_variance/{group}", minibatch.value, max(minibatch.low, 0.0), max(minibatch.high, 0.0), n=n
        )
        yield Row(f"total_variance_per_coordinate/{group}", *per_coordinate(total, coordinates), n=n)
        if total.value > 0:
            yield Row(f"log_total_variance_per_coordinate/{group}", *log_mean((both + noise) / coordinates), n=n)


Two: TypeAlias = tuple[Gradients, Gradients]


def _twice(gradient: Callable[..., Gradients], pair: Callable[..., Two] | None) -> Callable[[Batch], Two]:
    """Two estimates on each of several minibatches, under vmap or by a loop."""
    mapped = vmap(lambda batch: (gradient(*batch), gradient(*batch)), randomness="different")

    def two(batches: Batch) -> Two:
        if pair is None:
            one, other = mapped(batches)
            return one, other
        found = [pair(*batch) for batch in zip(*batches, strict=True)]
        one, other = ({k: torch.stack([each[i][k] for each in found]) for k in found[0][i]} for i in range(2))
        return one, other

    return two


def halves(
    gradient: Callable[..., Gradients],
    minibatch: Callable[[int], Batch],
    minibatches: int,
    chunk: int,
    seeds: Seeds,
    pair: Callable[..., Two] | None = None,
) -> dict[str, Halves]:
    """Moments of two estimates on each of many independent minibatches.

    Args:
        gradient: one estimate by part, for the tensors of a minibatch; runs under vmap.
        minibatch: returns an independent minibatch for each index.
        minibatches: their number, rounded up to a multiple of the number of batches.
        chunk: how many are computed at once.
        seeds: the seed of the estimates of a batch from the minibatch at this index on.
        pair: computes two estimates for the tensors of a minibatch, by a loop instead of vmap.
    """
    two = _twice(gradient, pair)
    per_batch = max(2, -(-minibatches // BATCHES))
    running: tuple[dict[str, Running], ...] = ({}, {})
    for batch in range(BATCHES):
        for start in range(0, per_batch, chunk):
            numbers = range(batch * per_batch + start, batch * per_batch + min(start + chunk, per_batch))
            drawn = tuple(torch.stack(each) for each in zip(*map(minibatch, numbers), strict=True))
            torch.manual_seed(seeds(batch, start))
            shared_generators.seed(seeds(batch, start))
            one, other = two(drawn)
            for half, sign in zip(running, (1, -1), strict=True):
                for part, values in one.items():
                    found = ((values + sign * other[part]) / 2).detach()
                    half.setdefault(part, Running()).add(found.unsqueeze(1), batch)
    return {part: Halves(*(half[part].moments() for half in running)) for part in running[0]}


def _grouped(variables: Parameters, found: Mapping[str, Halves]) -> dict[str, Halves]:
    sums = variables.grouped({part: both.sum for part, both in found.items()})
    differences = variables.grouped({part: both.difference for part, both in found.items()})
    return {group: Halves(sums[group], differences[group]) for group in sums}


def _of(others: Callable[[], Mapping[str, Halves]], group: str) -> Halves:
    return others()[group]


@dataclass(frozen=True)
class MinibatchVariance:
    """The total variance of estimators and its parts.

    Args:
        minibatches: their number; 0 measures nothing.
        budget: bytes of memory for the estimates that are computed at once; 0 for the default of the device.
        chunk: how many minibatches are computed at once; 0 for as many as fit into the budget.
    """

    minibatches: int
    budget: int
    chunk: int = 0

    def rows(
        self, bench: Bench, variables: Parameters, estimator: Estimator, stream: tuple[int | str, ...]
    ) -> Iterator[Row]:
        """Measures the parts of the variance by group of parameters.

        Args:
            bench: the bench.
            variables: the parameters at the point of measurement.
            estimator: the estimator, measured in its current mode.
            stream: seed of the random stream of the estimates; minibatches are the same for all estimators.
        """
        if not self.minibatches:
            return
        found, chunk = self._halves(bench, variables, estimator, stream)
        others = functools.cache(functools.partial(self._again, bench, variables, estimator, stream))
        for group, own in _grouped(variables, found).items():
            yield from own.rows(group, functools.partial(_of, others, group))
        yield Row("chunk/minibatches", chunk, chunk, chunk)

    def _again(
        self, bench: Bench, variables: Parameters, estimator: Estimator, stream: tuple[int | str, ...]
    ) -> dict[str, Halves]:
        """The moments over other minibatches, by group."""
        with bench.aside("again"):
            found, _ = self._halves(bench, variables, estimator, ("again", *stream), "another random minibatch")
        return _grouped(variables, found)

    def _halves(
        self,
        bench: Bench,
        variables: Parameters,
        estimator: Estimator,
        stream: tuple[int | str, ...],
        name: str = "random minibatch",
    ) -> tuple[dict[str, Halves], int]:
        """The moments by part, and how many minibatches were computed at once."""

        def gradient(*batch: Tensor) -> Gradients:
            return variables.gradient(estimator, lambda: variables.point.model(*batch))()

        def pair(*batch: Tensor) -> Two:
            # each minibatch has its own draw of the model's random numbers
            point = replace(variables.point, batch=batch, seed=fresh(0, 0))
            one = replace(variables, point=point).gradient(estimator, point.program, mapped=False)
            return one(), one()

        estimator.eval()
        with torch.no_grad():
            mapped = variables.point.held.still and route(bench, variables, estimator).mapped
            bench.sow(*stream)
            chunk = self.chunk or self._chunk(bench, lambda: gradient(*variables.point.batch)) if mapped else BATCHES
            seeds = functools.partial(bench.stream, *stream)
            drawn = (lambda number: next(bench.minibatches(name, number))), self.minibatches
            with shared_generators.restored():
                found = halves(gradient, *drawn, chunk, seeds, None if mapped else pair)
        estimator.train()
        return found, chunk

    def _chunk(self, bench: Bench, estimate: Callable[[], Gradients]) -> int:
        return chunk_size(2 * working_set(estimate), self.budget, bench.device, largest_tensor(estimate))
