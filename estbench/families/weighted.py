"""The weighted family: evaluates the cost at distinct values, with weights that make the weighted sum unbiased."""

import abc
import functools
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from estbench.core.estimator import Estimator, NotApplicableError, full_cost, inject
from estbench.core.logits import DEPTH
from estbench.core.node import Categorical, Node, log_softmax, one_hot
from estbench.core.one_hot import draw_in_proportion
from estbench.core.program import Evaluation, Program, Sites, leading, plate


class Weighted(Estimator):
    r"""Evaluates the cost at several values of each node, with weights that make sums over them unbiased.

    .. math:: g = \sum_k w_k \, (f(b_k) - c_k) \, \nabla \log q(b_k), \qquad
        \mathbb E \sum_k w_k h(b_k) = \mathbb E_q h(b)
    """

    differentiates = False

    @abc.abstractmethod
    def choose(self, node: Node) -> tuple[Tensor, Tensor]:
        """Hook: values ``(chosen, *logits.shape)`` and their weights ``(chosen, *batch)``."""

    @abc.abstractmethod
    def values(self, node: Node) -> int:
        """Hook: how many values of this node are chosen."""

    def baseline(self, node: Node, value: Tensor, cost: Tensor) -> Tensor:  # noqa: ARG002
        """Hook: the baseline for costs ``(chosen, *batch)``; its weighted score must have mean zero."""
        return torch.zeros_like(cost)

    def evaluations(self, nodes: Sequence[Node]) -> int:
        """Every combination of the nodes' chosen values."""
        return math.prod(self.values(node) for node in nodes)

    def forward(self, program: Program) -> Tensor:
        """The scalar for a program."""
        weights: dict[str, Tensor] = {}

        def chosen(name: str, node: Node, _sites: Sites) -> Tensor:
            self._refuse_small(name, node)
            with torch.no_grad():
                value, weights[name] = self.choose(node)
            return value

        evaluation = self.evaluate(program, plate(chosen))
        sites, cost = evaluation.sites, full_cost(evaluation.cost, evaluation.sites)
        # costs are averaged over plates, so weights are multiplied by the number of values
        joint, earlier = cost.new_ones(()), {}
        for name, weight in weights.items():
            earlier[name], joint = joint, joint * weight * len(weight)
        total, own = (joint * cost).mean(), cost.detach()
        for name, (node, value) in reversed(sites.items()):
            with torch.no_grad():
                excess = weights[name] * (own - self.baseline(node, value, own))
                gradient = (node.lift(excess) * node.score(value)).sum(0)
                own = (weights[name] * own).sum(0)
            total = total + inject(node, node.lift(earlier[name]) * gradient)
        for name in evaluation.slopes():
            total = total + self._by_slope(evaluation, name, weights)
        return total

    def _by_slope(self, evaluation: Evaluation, name: str, weights: Mapping[str, Tensor]) -> Tensor:
        """A scalar of value zero whose gradient is the part due to the slope of the cost with respect to log q."""
        node, value = evaluation.sites[name]
        with torch.no_grad():
            others = [weight for other, weight in weights.items() if other != name]
            ones = torch.ones_like(full_cost(evaluation.cost, evaluation.sites))
        slope = evaluation.weighted_slope(name, functools.reduce(torch.mul, others, ones))
        with torch.no_grad():
            excess = weights[name] * (slope - self.baseline(node, value, slope))
            gradient = (node.lift(excess) * node.score(value)).sum(tuple(range(value.ndim - node.logits.ndim)))
            # the slope already contains the weights of earlier values, so it is summed over them, not averaged
            plates = math.prod(node.logits.shape[: leading(node, evaluation.sites)])
        return inject(node, plates * gradient)

    def _refuse_small(self, name: str, node: Node) -> None:
        takes, has = self.values(node), node.cardinality
        if takes > has:
            raise NotApplicableError(f"{type(self).__name__} takes {takes} distinct values; {name!r} has only {has}")


# stands for a log-probability of minus infinity: negligible beside others, but within the precision of float32
_NONE = -60.0


def log_prob_once(node: Node, value: Tensor) -> Tensor:
    """Log-probabilities of values ``(chosen, *batch, *event)``; a value that occurred before counts as impossible.

    Values repeat only if masks leave fewer than are chosen.
    """
    found = node.log_prob(value)
    if not node.masks or len(value) < 2:
        return found
    hot = node.to_hot(value).flatten(-2)
    again = torch.stack([((hot[:k] - hot[k]).abs().sum(-1) < 0.5).any(0) for k in range(len(hot))])
    return torch.where(again, _NONE, found)


def most_probable(node: Categorical, count: int) -> Tensor:
    """The most probable joint values, ``(count, *batch, units, classes)``: a beam search, which is exact here.

    If masks leave fewer than ``count`` values, the most probable one is repeated.
    """
    log_probs = log_softmax(node.logits)
    units, classes = node.logits.shape[-2:]
    total = torch.zeros_like(log_probs[..., 0, :1])
    index = torch.zeros_like(log_probs[..., :1, :0], dtype=torch.long)
    for unit in range(units):
        extended = (total[..., None] + log_probs[..., unit, None, :]).flatten(-2)
        total, best = extended.topk(min(count, extended.shape[-1]))
        parent = (best // classes)[..., None]
        past = index.gather(-2, parent.expand(*parent.shape[:-1], unit))
        index = torch.cat([past, (best % classes)[..., None]], -1)
    if node.masks:
        # a value with a masked class has a log-probability far below all others
        allowed = total[..., None] > total[..., :1, None] - DEPTH / 2
        index = torch.where(allowed, index, index[..., :1, :])
    return one_hot(index, classes, log_probs.dtype).movedim(-3, 0)


def draw_outside(node: Categorical, taken: Tensor) -> Tensor:
    """A sample conditioned on being none of the values ``(taken, *batch, units, classes)``, drawn unit after unit.

    If no other value has positive probability, one of them is drawn again.
    """
    log_probs = log_softmax(node.logits)
    each = (taken * log_probs).sum(-1)
    rest = (each.flip(-1).cumsum(-1).flip(-1) - each).exp()
    alike = torch.ones_like(rest[..., 0])
    drawn: list[Tensor] = []
    for unit in range(node.logits.shape[-2]):
        lost = ((alike * rest[..., unit])[..., None] * taken[..., unit, :]).sum(0)
        masses = log_probs[..., unit, :].exp()
        left = masses * (1 - lost).clamp_min(0)
        # if no value is left, one of those that were taken is repeated
        drawn.append(draw_in_proportion(torch.where(left.sum(-1, keepdim=True) > 0, left, masses)))
        alike = alike * (taken[..., unit, :] * drawn[-1]).sum(-1)
    return torch.stack(drawn, -2)


def without_replacement(node: Categorical, count: int) -> Tensor:
    """Joint values sampled without replacement, ``(count, *batch, units, classes)``.

    A value is repeated only if masks leave fewer than ``count``.
    """
    taken = node.sample()[None]
    for _ in range(count - 1):
        taken = torch.cat([taken, draw_outside(node, taken)[None]])
    return taken


def mean_before_last(node: Node, value: Tensor, cost: Tensor) -> Tensor:
    """The mean cost of all values except the last, weighted by their probabilities."""
    weights = log_prob_once(node, value[:-1]).softmax(0)
    return (weights * cost[:-1]).sum(0).expand_as(cost)


def with_remainder(log_probs: Tensor) -> Tensor:
    """The weights of summed values, their probabilities, and of one sample for the rest: what is left of the mass."""
    return torch.cat([log_probs.exp(), remainder(log_probs)[None]])


def remainder(log_probs: Tensor) -> Tensor:
    """The total probability of all other values, from the log-probabilities of these, ``(taken, *batch)``."""
    return (1 - log_probs.exp().sum(0)).clamp_min(0)
