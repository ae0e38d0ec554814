"""Resolution: whether there are enough replicates to measure an estimator whose gradient depends on rare events.

A bit that is 1 with probability 0.0025 is 1 in two or three of 1,024 replicates. Estimates from these replicates, above
all of the variance, depend on how many there happen to be; if there are none, an unbiased estimator seems to have a
bias and no variance. A value is therefore reported only if it rests on enough replicates.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from estbench.core.estimator import Estimator
from estbench.core.node import Node
from estbench.core.program import Program, Sample
from estbench.engine.base import Bench
from estbench.engine.moments.moments import Moments
from estbench.engine.moments.variables import Logits, Variables
from estbench.runtime import shared_generators
from estbench.stats import Floats, contributing

# least effective number of replicates behind a variance, and least expected number of rare samples among the replicates
CARRIERS, DEPARTURES = 30, 60
# an effective number that is this many times too small or too large leaves no doubt: 32 batches tell it to some 40 %,
# so that it is off by this factor in about one measurement of a thousand
DOUBT = 4


Again: TypeAlias = Callable[[], Moments]


@dataclass(frozen=True)
class Resolution:
    """Whether moments are resolved.

    Args:
        reason: why they are not, in words; empty if they are.
        needed: how many replicates would be needed; 0 if this is unknown or if there are enough.
    """

    reason: str = ""
    needed: int = 0


RESOLVED = Resolution()


@dataclass(frozen=True)
class Chances:
    """How much an estimator's gradients at a point depend on rare events.

    Args:
        departures: expected number of variables of a sample that differ from their most likely value, by group.
        discrete: whether the estimator evaluates the cost at discrete values.
        random: whether an estimate uses random numbers at all.
    """

    departures: Mapping[str, float]
    discrete: bool = True
    random: bool = True

    @classmethod
    def of(cls, bench: Bench, variables: Variables, estimator: Estimator) -> "Chances":
        """Measures this for an estimator with one extra estimate."""
        point, groups = variables.point, variables.groups
        with bench.aside("chances"), torch.no_grad():
            nodes = dict(zip(Logits(point).parts, point.nodes().values(), strict=True))
            seen = _Seen()
            estimator.eval()
            before, shared = _generators(bench), shared_generators.state()
            estimator(seen.watched(point.program()))
            moved = any(not torch.equal(*pair) for pair in zip(before, _generators(bench), strict=True))
            moved |= shared_generators.state() != shared
            estimator.train()
        # parameters of the model may affect all nodes
        reached = {group: parts if set(parts) <= set(nodes) else [*nodes] for group, parts in groups.items()}
        rates = {group: sum(_departures(nodes[part]) for part in parts) for group, parts in reached.items()}
        return cls(rates, seen.discrete, moved)

    def resolved(self, groups: Mapping[str, Moments], again: Callable[[], Mapping[str, Moments]]) -> bool:
        """Whether the moments of all groups are resolved; ``again`` gives those of other replicates, by group."""
        return not any(self.resolution(group, own, partial(_of, again, group)).reason for group, own in groups.items())

    def reference(self, group: str, moments: Moments, again: Again) -> Resolution:
        """Whether the moments of an estimated reference are resolved: it is an average over discrete samples."""
        found = Chances(self.departures).resolution(group, moments, again, true=moments.n == 0)
        return Resolution(f"the reference has {found.reason}") if found.reason else found

    def resolution(self, group: str, own: Moments, again: Again, *, true: bool = False) -> Resolution:
        """Whether the moments of a group are resolved.

        Args:
            group: name of the group.
            own: moments of the estimate.
            again: gives the moments of as many other replicates; called only if the estimate's own leave a doubt.
            true: whether the estimate has neither variance nor bias, up to rounding.
        """
        # random numbers of libraries other than torch are not detected, but their effect is
        return self._resolution(self.departures[group], own, again, true=true)

    def value(self, own: Moments, again: Again, *, true: bool = False) -> Resolution:
        """The same for the moments of the value, which depends on all nodes."""
        return self._resolution(max(self.departures.values()), own, again, true=true)

    def _resolution(self, departures: float, own: Moments, again: Again, *, true: bool) -> Resolution:
        if true or not (self.random or own.variances.any()):
            return RESOLVED
        expected = own.n * departures
        if self.discrete and expected < DEPARTURES:
            needed = _rounded(DEPARTURES / departures) if expected else 0
            return Resolution(
                _few(own.n, f"draw about {expected:.2g} values that are not the likeliest", needed), needed
            )
        return carried(own.n, own.variances.cpu().numpy(), lambda: again().variances.cpu().numpy())


def _of(again: Callable[[], Mapping[str, Moments]], group: str) -> Moments:
    return again()[group]


def carried(n: int, variances: Floats, again: Callable[[], Floats]) -> Resolution:
    """Whether a variance rests on enough replicates, not only on a few very large ones; a variance of 0 always does.

    The replicates that a value is computed from must not decide whether it is reported. Where very large ones did not
    occur, the variance is too small and seems to rest on many: the values reported would be a selection of those, and
    their intervals would hold the truth too rarely. Therefore other replicates decide, unless there is no doubt.

    Args:
        n: number of replicates.
        variances: the variance of each batch of replicates.
        again: draws as many other replicates, and returns the variance of each of their batches.
    """
    carriers = contributing(variances)
    if CARRIERS / DOUBT <= carriers <= CARRIERS * DOUBT:
        carriers = contributing(again()) or carriers
    if not 0 < carriers < CARRIERS:
        return RESOLVED
    # twice as many, since the largest replicates may not have occurred yet
    needed = _rounded(2 * n * CARRIERS / carriers)
    return Resolution(_few(n, f"vary as if {carriers:.2g} of them made all the variance", needed), needed)


def _few(replicates: int, what: str, needed: int) -> str:
    enough = f"about {needed:,} replicates would tell" if needed else "no number of replicates is known to tell"
    return f"too few replicates: {replicates:,} {what}; {enough}"


def _rounded(count: float) -> int:
    """The number rounded up to two significant digits."""
    unit = 10 ** max(math.floor(math.log10(count)) - 1, 0)
    return math.ceil(count / unit) * unit


class _Seen:
    """Detects whether a program receives discrete values."""

    def __init__(self) -> None:
        self.discrete = False

    def watched(self, program: Program) -> Program:
        """The same program, with its samples observed."""

        def watched(sample: Sample) -> Tensor:
            def looked(name: str, node: Node) -> tuple[Tensor, Tensor]:
                value, log_q = sample(name, node)
                # relaxed values are never exactly 1, unless the temperature is so low that they are discrete in effect
                self.discrete |= bool((value.detach() == 1).any() | (value.detach() == 0).all())
                return value, log_q

            return program(looked)

        return watched


def _departures(node: Node) -> float:
    """The expected number of variables of a node that differ from their most likely value."""
    return float(node.at(node.logits.detach().double()).departures().sum())


def _generators(bench: Bench) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(bench.device)] if bench.device.type == "cuda" else states
