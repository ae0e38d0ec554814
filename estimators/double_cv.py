r"""DoubleCV: RLOO with the costs' expansions about the mean as a second control variate.

.. math:: h_k = f(b_k) - \alpha \, \bar f'_{-k} \cdot (b_k - p), \qquad
    g = \tfrac1K \sum_k \Big(h_k - \tfrac1{K-1} \sum_{j \ne k} h_j\Big) \nabla \log q(b_k)
    + \alpha \, J(p) \bar f'

where :math:`\bar f'_{-k}` is the mean derivative at the other samples. The scale :math:`\alpha` is tuned to the
least variance, from 0 on, where this is RLOO. The paper has bits only; nothing in the argument needs them.

Unbiased. Bernoulli and categorical. K evaluations, and K per node that the derivative is taken of: implementations
that differentiate as they evaluate need no more than K.

Reference: Titsias & Shi (2022), https://arxiv.org/abs/2111.05300
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from estbench.core.derivatives import derivative
from estbench.core.node import Node
from estbench.families.control_variate import ControlVariate, WhatIf


class DoubleCV(ControlVariate):
    """The score-function estimator with double control variates.

    Args:
        samples: joint samples per gradient, at least 2.
        scale: of the second control variate at the start.
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
        slope = self._others(derivative(what_if, value)[0])
        score = node.score(value)
        second = cost - self.scale * node.total(slope * score)
        excess = second - self._others(second)
        return node.lift(excess) * score + self.scale * node.covariance(node.mean, slope)

    def _others(self, each: Tensor) -> Tensor:
        """The mean of the other samples."""
        return (each.sum(0) - each) / (self.samples - 1)
