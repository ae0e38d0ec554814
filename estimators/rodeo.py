r"""RODEO: RLOO with control variates from a Stein operator, whose outputs have mean zero.

.. math:: (A h)(b) = \tfrac1n \sum_i q(\bar b_i | b_{-i}) \, (h(b \oplus e_i) - h(b)), \qquad
    \mathbb E_q \, A h = 0

.. math:: g = \tfrac1K \sum_k \Big[\Big(f_k - \tfrac1{K-1} \sum_{j \ne k} (f_j + A h_j(b_j))\Big) \nabla \log q(b_k)
    + A (\tilde h_k \nabla \log q)(b_k)\Big]

:math:`h_k` and :math:`\tilde h_k` are means, over the other samples j, of two networks of :math:`f_j` and its linear
change :math:`f'_j \cdot (b - b_j)`, so that the neighbours of a sample need no evaluations of the cost. The networks
are tuned to minimise the variance. Their output is zero at the start, where the estimator is RLOO.

Unbiased. Bernoulli. K evaluations, and K more per node, of which the derivative is taken.

Reference: Shi, Zhou, Hwang, Titsias & Mackey (2022), https://arxiv.org/abs/2202.09497
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from estbench.core.derivatives import derivative
from estbench.core.estimator import mean_of_others, positive
from estbench.core.networks import PerNode, mlp
from estbench.core.node import Bernoulli, Node
from estbench.families.control_variate import ControlVariate, WhatIf


class RODEO(ControlVariate):
    """REINFORCE with discrete Stein operators.

    Args:
        samples: number of joint samples per gradient, at least 2.
        hidden: width of the networks' hidden layer.
    """

    samples: int
    accepts = (Bernoulli,)
    unbiased = True
    differentiates = True
    paper = "Shi, Zhou, Hwang, Titsias & Mackey (2022), https://arxiv.org/abs/2202.09497"

    def __init__(self, samples: int = 2, hidden: int = 100) -> None:
        super().__init__()
        if samples < 2:
            raise ValueError(f"RODEO leaves one sample out, so it needs at least 2; got {samples}")
        self.samples, self.hidden = samples, positive("hidden", hidden)
        self.inner, self.outer = PerNode(), PerNode()

    def build(self, name: str, node: Node) -> None:
        for networks in (self.inner, self.outer):
            networks[name] = mlp(2, (self.hidden,), node.logits, nn.LeakyReLU)

    def evaluations(self, nodes: Sequence[Node]) -> int:
        return self.samples * (1 + len(nodes))

    def stand_in(self, node: Node, noise: Tensor) -> Tensor:
        return node.discretise(noise)

    def gradient(self, name: str, node: Node, noise: Tensor, cost: Tensor, what_if: WhatIf) -> Tensor:
        value = node.discretise(noise)
        slope = derivative(what_if, value)[0]
        # for each sample and each other one: the linear change from the other to the sample, and to its neighbours
        slopes = _others(slope)
        here = (slopes * (value[:, None] - _others(value))).sum(-1, keepdim=True)
        inputs = torch.cat([here, here + slopes * (1 - 2 * value)[:, None]], -1)
        inputs = torch.stack([inputs, _others(cost)[..., None].expand_as(inputs)], -1)
        score, units = node.score(value), value.shape[-1]
        # a bit flips with the probability of its other value
        rate = score.abs() / units
        here, there = _surrogate(self.inner.of(name, self), inputs)
        second = cost + (rate * (there - here)).sum(-1)
        here, there = _surrogate(self.outer.of(name, self), inputs)
        stein = (rate * (there - here)).sum(-1, keepdim=True) * score + rate * there * (1 - 2 * value)
        return node.lift(cost - mean_of_others(second)) * score + stein


def _others(values: Tensor) -> Tensor:
    """For each sample the values of all others, ``(samples, samples - 1, ...)``."""
    return torch.stack([torch.cat([values[:k], values[k + 1 :]]) for k in range(len(values))])


def _surrogate(network: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """A surrogate of each sample and its neighbours, averaged over the other samples."""
    mean = network(inputs).mean(1)
    return mean[..., :1], mean[..., 1:]
