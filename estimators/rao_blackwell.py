r"""Rao-Blackwellised REINFORCE: a sum over the most probable values, and one sample for all others.

.. math:: g = \sum_{b \in C_k} q(b) f(b) \nabla \log q(b) + (1 - q(C_k)) \, f(b') \nabla \log q(b'), \qquad
    b' \sim q(\cdot \mid b' \notin C_k)

:math:`C_k` is the set of the k most probable joint values of the node. Their mean cost serves as the baseline of all
terms, since it does not depend on the sample.

Unbiased. Bernoulli and categorical. k + 1 evaluations per node.

Reference: Liu, Regier, Tripuraneni, Jordan & McAuliffe (2019), https://arxiv.org/abs/1810.04777
"""

import torch
from torch import Tensor

from estbench.core.node import Node
from estbench.families.weighted import (
    Weighted,
    draw_outside,
    log_prob_once,
    mean_before_last,
    most_probable,
    with_remainder,
)


class RaoBlackwell(Weighted):
    """REINFORCE Rao-Blackwellised over the most probable values.

    Args:
        summed: the number k of values that are summed.
    """

    unbiased = True
    paper = "Liu, Regier, Tripuraneni, Jordan & McAuliffe (2019), https://arxiv.org/abs/1810.04777"

    def __init__(self, summed: int = 1) -> None:
        super().__init__()
        if summed < 1:
            raise ValueError(f"the Rao-Blackwellised estimator sums at least 1 value; got {summed}")
        self.summed = summed

    def values(self, node: Node) -> int:
        return self.summed + 1

    def baseline(self, node: Node, value: Tensor, cost: Tensor) -> Tensor:
        return mean_before_last(node, value, cost)

    def choose(self, node: Node) -> tuple[Tensor, Tensor]:
        classes = node.classes()
        top = most_probable(classes, self.summed)
        log_probs = log_prob_once(classes, top)
        return node.from_hot(torch.cat([top, draw_outside(classes, top)[None]])), with_remainder(log_probs)
