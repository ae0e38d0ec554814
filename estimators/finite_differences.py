r"""Finite differences: central differences in each logit, with common random numbers.

.. math:: g_i = \frac{f(b(\ell + h e_i, \varepsilon)) - f(b(\ell - h e_i, \varepsilon))}{2 h}

Later nodes share their noise too.

Biased; the bias is of order :math:`h^2` and the variance of order :math:`1 / h`. It is slow, but in the limit it is an
oracle that does not rely on scores. Bernoulli and categorical. One evaluation, and two per logit.

Reference: Glasserman & Yao (1992), https://doi.org/10.1287/mnsc.38.6.884
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from estbench.core.estimator import positive
from estbench.core.networks import features
from estbench.core.node import Node
from estbench.families.control_variate import ControlVariate, WhatIf


class FiniteDifferences(ControlVariate):
    """Central finite differences with common random numbers.

    Args:
        step: the distance :math:`h` by which each logit is moved.
    """

    unbiased = False
    differentiates = False
    paper = "Glasserman & Yao (1992), https://doi.org/10.1287/mnsc.38.6.884"

    def __init__(self, step: float = 1.0) -> None:
        super().__init__()
        self.step = positive("step", step)

    def evaluations(self, nodes: Sequence[Node]) -> int:
        return 1 + 2 * sum(features(node) for node in nodes)

    def stand_in(self, node: Node, noise: Tensor) -> Tensor:
        return node.discretise(noise)

    def gradient(self, name: str, node: Node, noise: Tensor, cost: Tensor, what_if: WhatIf) -> Tensor:
        event, number = node.event_shape, features(node)
        unit = torch.eye(number, dtype=noise.dtype, device=noise.device)
        moves = self.step * unit.reshape(number, *(1,) * node.batch_ndim, *event)
        costs = what_if(node.discretise(noise + torch.cat([moves, -moves])))
        up, down = costs.expand(2 * number, *cost.shape).split(number)
        return ((up - down) / (2 * self.step)).movedim(0, -1).unflatten(-1, event)
