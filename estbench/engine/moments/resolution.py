"""Resolution: whether so many replicates say anything about an estimator whose gradient hangs on rare events.

A bit that is 1 with probability 0.0025 is 1 in two or three of 1,024 replicates. Whatever is computed from these, the
variance above all, hangs on how many they happened to be, and where there was none an unbiased estimator looks as if it
had no variance and a bias. So no value is given until enough replicates carry it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from estbench.core.estimator import Estimator
from estbench.core.node import Bernoulli, Node
from estbench.core.program import Program, Sample
from estbench.engine.base import Bench
from estbench.engine.moments.moments import Moments
from estbench.engine.moments.variables import Logits, Variables
from estbench.runtime import shared_generators
from estbench.stats import Floats, contributing

# replicates of equal size that a variance has to hang on, and rare draws that have to be expected among the replicates
CARRIERS, DEPARTURES = 30, 60


@dataclass(frozen=True)
class Resolution:
    """Whether moments are resolved.

    Args:
        reason: why they are not, in words; empty where they are.
        needed: how many replicates it would take; 0 where that cannot be told or they are enough.
    """

    reason: str = ""
    needed: int = 0


RESOLVED = Resolution()


@dataclass(frozen=True)
class Chances:
    """How much of chance there is in an estimator's gradients at a point.

    Args:
        departures: by group, how many variables of a sample are expected to differ from their likeliest value.
        discrete: whether the estimator evaluates the cost at discrete values.
        random: whether an estimate takes random numbers at all.
    """

    departures: Mapping[str, float]
    discrete: bool = True
    random: bool = True

    @classmethod
    def of(cls, bench: Bench, variables: Variables, estimator: Estimator) -> "Chances":
        """Of an estimator, by one estimate on the side."""
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
        # parameters of the model may move all nodes
        reached = {group: parts if set(parts) <= set(nodes) else [*nodes] for group, parts in groups.items()}
        rates = {group: sum(_departures(nodes[part]) for part in parts) for group, parts in reached.items()}
        return cls(rates, seen.discrete, moved)

    def resolved(self, groups: Mapping[str, Moments]) -> bool:
        """Whether the moments of all groups are resolved."""
        return not any(self.resolution(group, own).reason for group, own in groups.items())

    def reference(self, group: str, moments: Moments) -> Resolution:
        """Whether the moments of an estimated reference are resolved: it is an average over discrete samples."""
        found = Chances(self.departures).resolution(group, moments, true=moments.n == 0)
        return Resolution(f"the reference has {found.reason}") if found.reason else found

    def resolution(self, group: str, own: Moments, *, true: bool = False) -> Resolution:
        """Whether the moments of a group are resolved.

        Args:
            group: which.
            own: its moments.
            true: whether they are those of the true gradient, without variance, to rounding.
        """
        # random numbers of another library than torch are not seen, but what they do is
        if true or not (self.random or own.variances.any()):
            return RESOLVED
        expected = own.n * self.departures[group]
        if self.discrete and expected < DEPARTURES:
            needed = _rounded(DEPARTURES / self.departures[group]) if expected else 0
            return Resolution(
                _few(own.n, f"draw about {expected:.2g} values that are not the likeliest", needed), needed
            )
        return carried(own.n, own.variances.cpu().numpy())


def carried(n: int, variances: Floats) -> Resolution:
    """Whether a variance is that of enough replicates, and not of the few largest; where nothing varies, it is.

    Args:
        n: replicates.
        variances: of each batch of them.
    """
    carriers = contributing(variances)
    if not 0 < carriers < CARRIERS:
        return RESOLVED
    # twice as many, since the largest of those that are missing are not seen
    needed = _rounded(2 * n * CARRIERS / carriers)
    return Resolution(_few(n, f"vary as if {carriers:.2g} of them made all the variance", needed), needed)


def _few(replicates: int, what: str, needed: int) -> str:
    enough = f"about {needed:,} replicates would tell" if needed else "no number of replicates is known to tell"
    return f"too few replicates: {replicates:,} {what}; {enough}"


def _rounded(count: float) -> int:
    """Up to two digits."""
    unit = 10 ** max(math.floor(math.log10(count)) - 1, 0)
    return math.ceil(count / unit) * unit


class _Seen:
    """Whether a program was given discrete values."""

    def __init__(self) -> None:
        self.discrete = False

    def watched(self, program: Program) -> Program:
        """The same program."""

        def watched(sample: Sample) -> Tensor:
            def looked(name: str, node: Node) -> tuple[Tensor, Tensor]:
                value, log_q = sample(name, node)
                # relaxed values are nowhere 1, unless they are so cold that they are discrete for all one can tell
                self.discrete |= bool((value.detach() == 1).any() | (value.detach() == 0).all())
                return value, log_q

            return program(looked)

        return watched


def _departures(node: Node) -> float:
    """How many variables of a node are expected to differ from their likeliest value."""
    mean = node.at(node.logits.detach().double()).mean
    likeliest = mean.maximum(1 - mean) if isinstance(node, Bernoulli) else mean.amax(-1)
    return float((1 - likeliest).sum())


def _generators(bench: Bench) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(bench.device)] if bench.device.type == "cuda" else states
