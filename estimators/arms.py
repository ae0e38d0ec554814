r"""ARMS: ARM for several samples coupled by a Dirichlet copula; a leave-one-out estimate, corrected for the coupling.

.. math:: g = \frac{p (1 - p)}{p - P_{11}} \cdot \tfrac1{K-1} \sum_k (f(b_k) - \bar f)\,(b_k - p)

:math:`P_{11}` is the probability that two coupled bits are both 1. With :math:`d \sim \mathrm{Dir}(1_K)`, the uniform
variables :math:`(1 - d_k)^{K-1}` repel each other most near 0, so bits with :math:`p > 1/2` use one minus these
variables. For two samples the estimator is DisARM.

Unbiased. Bernoulli. K evaluations per node.

Reference: Dimitriev & Zhou (2021), https://arxiv.org/abs/2105.14141
"""

import torch
from torch import Tensor

from estbench.core.copula import both_below, repelling_noise
from estbench.core.node import Bernoulli, Node
from estbench.families.coupled import Several


class ARMS(Several):
    """The antithetic REINFORCE multi-sample estimator.

    Args:
        samples: number of coupled values per node, at least 2.
    """

    accepts = (Bernoulli,)
    unbiased = True
    paper = "Dimitriev & Zhou (2021), https://arxiv.org/abs/2105.14141"

    def couple(self, node: Node) -> Tensor:
        noise = repelling_noise(self.coupled, node.logits)
        return torch.where(node.logits < 0, noise, -noise)

    def gradient(self, node: Node, noise: Tensor, cost: Tensor) -> Tensor:
        rarer = (-node.logits.abs()).sigmoid()
        debias = node.logits.abs().sigmoid() / (1 - both_below(rarer, self.coupled))
        score = node.score(node.discretise(noise))
        return debias * (node.lift(cost - cost.mean(0)) * score).sum(0) / (self.coupled - 1)
