r"""CARMS: ARMS for categorical variables, by stick-breaking with coupled sticks.

.. math:: g = \tfrac1K \sum_i \nabla \log q(b_i) \, \tfrac1{K-1} \sum_{j \ne i}
    \frac{q(b_i) \, q(b_j)}{q(b_i, b_j)} \, (f(b_i) - f(b_j))

for each unit, where the ratio counts as 0 for equal classes. Sticks are broken in the order of increasing probability,
so that every stick is at most one half and every pair of classes has a positive probability.

Unbiased. Categorical. K evaluations per node.

Reference: Dimitriev & Zhou (2021), https://arxiv.org/abs/2110.14002
"""

import torch
from torch import Tensor

from estbench.core.copula import both_below, repelling_noise
from estbench.core.node import Categorical, Node, one_hot
from estbench.families.coupled import Several


class CARMS(Several):
    """The categorical antithetic REINFORCE multi-sample estimator.

    Args:
        samples: number of coupled values per node, at least 2.
    """

    accepts = (Categorical,)
    unbiased = True
    paper = "Dimitriev & Zhou (2021), https://arxiv.org/abs/2110.14002"

    def couple(self, node: Node) -> Tensor:
        order, sticks = _sticks(node)
        broken = sticks + repelling_noise(self.coupled, sticks) > 0
        # the first stick that breaks, or else the last class
        first = torch.cat([broken, torch.ones_like(broken[..., :1])], -1).to(sticks).argmax(-1)
        chosen = one_hot(first, node.logits.shape[-1], node.logits.dtype)
        return node.noise_given(_unsort(chosen, order))

    def gradient(self, node: Node, noise: Tensor, cost: Tensor) -> Tensor:
        value = node.discretise(noise)
        order, sticks = _sticks(node)
        rank = _unsort(torch.arange(value.shape[-1], device=value.device).expand_as(node.logits), order)
        position = (value * rank).sum(-1)
        ratio = (value * _unsort(self._ratios(sticks), order)).sum(-1)
        mine, other = position[:, None], position[None]
        ratios = torch.where(mine < other, ratio[:, None], ratio[None]) * (mine != other)
        excess = (cost[:, None] - cost[None]).unsqueeze(-1)
        weight = (ratios * excess).sum(1) / (self.coupled - 1)
        return (weight[..., None] * node.score(value)).mean(0)

    def _ratios(self, sticks: Tensor) -> Tensor:
        """The independent probability of a pair over its coupled one, by the class that comes first in the order."""
        p = sticks.sigmoid()
        both = both_below(p, self.coupled) * p
        neither = (2 * torch.log1p(-p) - torch.log1p(both - 2 * p))[..., :-1].cumsum(-1).exp()
        one = torch.ones_like(p[..., :1])
        ratio = torch.cat([one, neither], -1) * (1 - p) / (1 - both_below(p, self.coupled))
        return torch.cat([ratio, 0 * one], -1)


def _sticks(node: Node) -> tuple[Tensor, Tensor]:
    """The order of classes from the least probable on, and the logits of all sticks but the last."""
    ordered, order = node.logits.sort(-1)
    later = ordered.flip(-1).logcumsumexp(-1).flip(-1)
    return order, ordered[..., :-1] - later[..., 1:]


def _unsort(ordered: Tensor, order: Tensor) -> Tensor:
    """Puts entries in the order of ``sort`` back in their places."""
    return ordered.gather(-1, order.argsort(-1).expand_as(ordered))
