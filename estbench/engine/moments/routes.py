"""Routes: whether replicates of an estimate can be drawn with ``torch.func.vmap``, or need a loop.

Under vmap a function is called once for all replicates. Random numbers from torch differ between the replicates, but
numbers from elsewhere, such as NumPy, are the same for all without any error, and code that reads values fails.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import vmap

from estbench.core.estimator import Estimator, NotApplicableError
from estbench.core.node import Bernoulli, Categorical, Node
from estbench.core.program import Program, Sample
from estbench.engine.base import Bench, MeasurementError
from estbench.engine.moments.moments import Gradients
from estbench.engine.moments.variables import Variables
from estbench.runtime import shared_generators

# relative difference of two ways to compute one gradient that rounding can explain
ROUNDING = 1e-3
# fair bits that have to agree before chance is excluded (one case in 10^9)
CERTAIN = 30


@dataclass(frozen=True)
class Route:
    """How replicates are drawn.

    Args:
        reason: why they need a loop; empty if vmap works.
    """

    reason: str = ""

    @property
    def mapped(self) -> bool:
        """Whether they are drawn with vmap."""
        return not self.reason


def route(bench: Bench, variables: Variables, estimator: Estimator) -> Route:
    """Tests how replicates of an estimator's gradient can be drawn, without affecting random streams.

    Args:
        bench: the bench.
        variables: the variables with respect to which the gradient is taken.
        estimator: the estimator, in the mode in which it is measured.

    Raises:
        NotApplicableError: the estimator refuses the program.
        MeasurementError: its replicates are equal although they should differ.
    """
    with bench.aside("route"), shared_generators.restored():
        trial = _VmapTrial(bench, variables, estimator)
        return Route(trial.elsewhere() or trial.changed())


class _VmapTrial:
    """Compares a few single estimates by autograd and by vmap."""

    def __init__(self, bench: Bench, variables: Variables, estimator: Estimator) -> None:
        self._bench, self._variables, self._estimator = bench, variables, estimator
        self._shared = self._constant = False

    def elsewhere(self) -> str:
        """Says in words if an estimate depends on anything that torch's seed does not determine; empty otherwise.

        The test makes all values equally likely, so that different random numbers almost surely give other estimates.
        """
        seen: dict[str, Tensor] = {}
        try:
            first = self._evened(0, seen)
            # two draws of n bits agree with probability 2^-n, so that few variables take several tries
            tries = -(-CERTAIN // max(1, sum(values.numel() for values in (seen or first).values())))
            repeats = all(equal(self._evened(0, {}), first) for _ in range(tries))
            self._constant = all(self._same(seed, first, seen) for seed in range(1, 1 + tries))
        except Exception:  # noqa: BLE001  (what is wrong with it shows where it is measured)
            return ""
        if self._shared:
            return "it draws random numbers by NumPy or Python, which are the same for all that vmap maps over"
        if not repeats:
            return "two estimates with one seed of torch differ, so that it draws or keeps something out of its reach"
        if self._constant and any(uneven(values) for values in seen.values()):
            raise MeasurementError(
                "its samples differ between variables of one distribution and never between replicates: it draws from "
                "a generator with a fixed seed, and has no variance that could be measured"
            )
        return ""

    def _same(self, seed: int, gradient: Gradients, samples: dict[str, Tensor]) -> bool:
        """Whether a seed gives this estimate and these samples."""
        found: dict[str, Tensor] = {}
        return equal(self._evened(seed, found), gradient, 0) and equal(found, samples, 0)

    def _evened(self, seed: int, values: dict[str, Tensor]) -> Gradients:
        """An estimate with all values equally likely; it records the samples."""
        return self._seeded(seed, self._plain(lambda program: self._estimator(even(program, values))))

    def changed(self) -> str:
        """Says in words if vmap fails or gives another estimate; empty otherwise."""
        try:
            gradient = self._variables.gradient(self._estimator, self._variables.point.program)
            many = vmap(lambda _: gradient(), randomness="different")
            two = self._seeded(0, lambda: many(torch.empty(2)))
            first, second = ({name: x[place] for name, x in two.items()} for place in range(2))
            # where nothing is random, the lanes of one product may still round otherwise
            if self._constant and not equal(first, second):
                return "torch's seed makes no difference to it, and its replicates under torch.func.vmap differ"
            if self._variables.point.varies:
                return ""
            alike = any(self._alike(seed, many) for seed in range(2))
        except NotApplicableError:
            raise
        except Exception as error:  # noqa: BLE001  (a plugin may raise anything; a loop will say if it was no fault of vmap)
            line, *_ = str(error).strip().splitlines() or [""]
            return f"torch.func.vmap cannot map it ({type(error).__name__}: {line[:150]})"
        return "" if alike else "its gradient changes under torch.func.vmap"

    def _alike(self, seed: int, many: Callable[[Tensor], Gradients]) -> bool:
        """Whether both ways give the same estimate; if rounding flips a sample, another seed is tried."""
        mapped = self._seeded(seed, lambda: {name: x[0] for name, x in many(torch.empty(1)).items()})
        return equal(self._seeded(seed, self._plain(self._estimator)), mapped)

    def _plain(self, objective: Callable[[Program], Tensor]) -> Callable[[], Gradients]:
        return self._variables.gradient(objective, self._variables.point.program, mapped=False)

    def _seeded(self, seed: int, gradient: Callable[[], Gradients]) -> Gradients:
        self._bench.sow("route", seed)
        shared_generators.seed(seed)
        before = shared_generators.state()
        made = gradient()
        found = {name: made[name].detach() for name in self._variables.parts}
        self._shared |= shared_generators.state() != before
        return found


def equal(one: Gradients, other: Gradients, rounding: float = ROUNDING) -> bool:
    """Whether tensors of the same names differ by no more than rounding, relative to the largest entry."""
    if one.keys() != other.keys() or any(x.shape != other[name].shape for name, x in one.items()):
        return False
    largest = max((float(x.nan_to_num().abs().max()) for x in one.values() if x.numel()), default=0.0)
    close = functools.partial(torch.allclose, rtol=0, atol=rounding * largest, equal_nan=True)
    return all(close(x, other[name]) for name, x in one.items())


def even(program: Program, values: dict[str, Tensor]) -> Program:
    """A program in which all values of its nodes are equally likely.

    Args:
        program: the program.
        values: receives the samples by node, ``(variables, ...)``; its first dimension is of one distribution.
    """

    def evened(sample: Sample) -> Tensor:
        def levelled(name: str, node: Node) -> tuple[Tensor, Tensor]:
            found = sample(name, node.levelled())
            values[name] = found[0].detach().clone()
            if isinstance(node, (Bernoulli, Categorical)) and found[0].ndim == node.logits.ndim:
                # the first of the samples; its variables have the same distribution in all examples and units
                values[name] = values[name].flatten(0, node.batch_ndim)
            elif node.batch_ndim:
                values[name] = values[name].movedim(-1 - node.event_ndim, 0)
            return found

        return program(levelled)

    return evened


def uneven(values: Tensor) -> bool:
    """Whether samples ``(variables, ...)`` differ between variables."""
    return bool((values != values[:1]).any())
