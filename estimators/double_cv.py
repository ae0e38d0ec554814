r"""DoubleCV: RLOO with first-order expansions of the costs about the mean as a second control variate.

.. math:: h_k = f(b_k) - \alpha \, \bar f'_{-k} \cdot (b_k - p), \qquad
    g = \tfrac1K \sum_k \Big(h_k - \tfrac1{K-1} \sum_{j \ne k} h_j\Big) \nabla \log q(b_k)
    + \alpha \, J(p) \bar f'

where :math:`\bar f'_{-k}` is the mean derivative at the other samples. The scale :math:`\alpha` is tuned to minimise
the variance; it starts at 0, where the estimator is RLOO. The paper treats bits only, but the argument holds for
categorical variables too.

Unbiased. Bernoulli and categorical. K evaluations, and K more per node, of which the derivative is taken; an
implementation that differentiates while it evaluates needs only K.

Reference: Titsias & Shi (2022), https://arxiv.org/abs/2111.05300
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from estbench.core.derivatives import derivative
from estbench.core.estimator import mean_of_others
from estbench.core.node import Node
from estbench.families.control_variate import ControlVariate, WhatIf


class DoubleCV(ControlVariate):
    """The score-function estimator with double control variates.

    Args:
        samples: number of joint samples per gradient, at least 2.
        scale: initial scale of the second control variate.
    """

    samples: int
    unbiased = True
    differentiates = True
    paper = "Titsias & Shi (2022), https://arxiv.org/abs/2111.05300"

    def __init__(self, samples: int = 2, scale: float = 0.0) -> None:
        super().__init__()
        if samples < 2:
            raise ValueError(f"DoubleCV leaves one sample out, so it needs at least 2; got {samples}")
        self.samples = samples
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def evaluations(self, nodes: Sequence[Node]) -> int:
        return self.samples * (1 + len(nodes))

    def stand_in(self, node: Node, noise: Tensor) -> Tensor:
        return node.discretise(noise)

    def gradient(self, name: str, node: Node, noise: Tensor, cost: Tensor, what_if: WhatIf) -> Tensor:
        value = node.discretise(noise)
        slope = mean_of_others(derivative(what_if, value)[0])
        score = node.score(value)
        second = cost - self.scale * node.total(slope * score)
        excess = second - mean_of_others(second)
        return node.lift(excess) * score + self.scale * node.covariance(node.mean, slope)
