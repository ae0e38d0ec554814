"""Programs and their interpreter: a program asks for samples, a sampler answers.

A program takes ``sample`` and returns one cost per example, ``(*samples, *batch)``; its only duty is to
broadcast over leading dimensions. A sampler maps ``(name, node, sites)`` to a value, where ``sites`` holds
what was sampled before. Samplers compose: ``draw``, ``repeat``, ``plate``, ``replay``.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from torch import Tensor

from estbench.core.logits import at_least_float32
from estbench.core.node import Node

Sample: TypeAlias = Callable[[str, Node], tuple[Tensor, Tensor]]
Program: TypeAlias = Callable[[Sample], Tensor]


class Site(NamedTuple):
    """What one call of ``sample`` asked for and got."""

    node: Node
    value: Tensor


Sites: TypeAlias = Mapping[str, Site]
Sampler: TypeAlias = Callable[[str, Node, Sites], Tensor]


def run(program: Program, sampler: Sampler, *, keep_score: bool = False) -> tuple[Tensor, dict[str, Site]]:
    r"""Runs a program, answering each of its samples.

    ``sample`` returns the value, in the dtype of the logits that the program gave, and its log-probability, which has
    at least float32, as the cost has that is returned. The score of an exact sample has mean zero, so that the
    derivative of :math:`\log q` with respect to its own logits is only noise and is dropped; where values are
    no exact samples (relaxed ones, or an objective that weighs samples) it must stay: ``keep_score``.

    Returns:
        The cost ``(*samples, *batch)``, and the sites in the order of sampling.

    Raises:
        ValueError: the program samples one name twice, or nothing at all.
    """
    sites: dict[str, Site] = {}

    def sample(name: str, node: Node) -> tuple[Tensor, Tensor]:
        if name in sites:
            raise ValueError(
                f"a program must name each of its samples differently, so that an estimator can tell them "
                f"apart; {name!r} was sampled twice"
            )
        value = sampler(name, node, sites)
        sites[name] = Site(node, value)
        scored = node if keep_score else node.detach()
        return value.to(node.dtype), scored.log_prob(value)

    cost = at_least_float32(program(sample))
    if not sites:
        raise ValueError("the program sampled nothing, so there is no gradient to estimate")
    return cost, sites


def unscored(program: Program, log_probs: dict[str, Tensor]) -> Program:
    """The same program, to which log-probabilities are constants.

    For who weighs the score of values that are constants themselves, without evaluating the log-probabilities twice.

    Args:
        program: to be run with ``keep_score``.
        log_probs: takes the log-probabilities by name, with the score.
    """

    def apart(sample: Sample) -> Tensor:
        def constant(name: str, node: Node) -> tuple[Tensor, Tensor]:
            value, log_probs[name] = sample(name, node)
            return value, log_probs[name].detach()

        return program(constant)

    return apart


def leading(node: Node, sites: Sites) -> int:
    """How many dimensions earlier samples put before the batch of this node's logits."""
    first = next(iter(sites.values())).node if sites else node
    return node.batch_ndim - first.batch_ndim


def draw(_name: str, node: Node, _sites: Sites) -> Tensor:
    """One exact sample."""
    return node.sample()


def mean(_name: str, node: Node, _sites: Sites) -> Tensor:
    """The mean in place of a draw."""
    return node.mean


def repeat(sampler: Sampler, samples: int) -> Sampler:
    """``samples`` joint samples along one new leading dimension."""

    def repeated(name: str, node: Node, sites: Sites) -> Tensor:
        if leading(node, sites) == 0:
            node = node.arranged(node.logits.expand(samples, *node.logits.shape))
        return sampler(name, node, sites)

    return repeated


def plate(sampler: Sampler) -> Sampler:
    """Several values per node, each node along a leading dimension of its own, the last node's leftmost.

    The inner sampler returns values with one more leading dimension than the logits it is given.
    """

    def plated(name: str, node: Node, sites: Sites) -> Tensor:
        missing = len(sites) - leading(node, sites)
        if missing:
            node = node.arranged(node.logits.reshape(*(1,) * missing, *node.logits.shape))
        return sampler(name, node, sites)

    return plated


def replay(values: Mapping[str, Tensor], then: Sampler) -> Sampler:
    """The given values where there are any, else those of the sampler ``then``."""

    def replayed(name: str, node: Node, sites: Sites) -> Tensor:
        return values[name] if name in values else then(name, node, sites)

    return replayed
