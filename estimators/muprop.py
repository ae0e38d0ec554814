r"""MuProp: REINFORCE with the cost's expansion about the mean as control variate.

.. math:: g = \big(f(b) - f(p) - f'(p)^\top (b - p)\big) \nabla \log q(b) + J(p) f'(p)

Later nodes take their means in the expansion.

Unbiased. Bernoulli and categorical. One evaluation and one per node; uses the derivative of the cost.

Reference: Gu, Levine, Sutskever & Mnih (2016), https://arxiv.org/abs/1511.05176
"""

from collections.abc import Sequence

from torch import Tensor

from estbench.derivatives import derivative
from estbench.families.control_variate import ControlVariate, WhatIf
from estbench.node import Node


class MuProp(ControlVariate):
    """The MuProp estimator."""

    unbiased = True
    differentiates = True
    paper = "Gu, Levine, Sutskever & Mnih (2016), https://arxiv.org/abs/1511.05176"

    def evaluations(self, nodes: Sequence[Node]) -> int:
        return 1 + len(nodes)

    def stand_in(self, node: Node, noise: Tensor) -> Tensor:
        return node.mean

    def gradient(self, name: str, node: Node, noise: Tensor, cost: Tensor, what_if: WhatIf) -> Tensor:
        slope, each = derivative(what_if, node.mean)
        score = node.score(node.harden(noise))
        excess = cost - each - node.total(slope * score)
        return node.lift(excess) * score + node.covariance(node.mean, slope)
