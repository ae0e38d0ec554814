r"""Local expectation gradients: a sum over the values of each variable, with the others as sampled.

.. math:: g_{i} = \sum_c f(b_{-i}, c) \, \frac{\partial}{\partial \ell_i} q_i(c), \qquad b \sim q

This estimator is known under several names: local expectation gradients, IndeCateR (De Smet, Sansone & Zuidberg Dos
Martires 2023, https://arxiv.org/abs/2311.12569), GO for discrete variables (Cong et al. 2019,
https://arxiv.org/abs/1901.06020) and the measure-valued derivative summed over its pairs. Later nodes are sampled
again for each value; with ``common`` they share their noise, which is RAM (Tokui & Sato 2017,
https://arxiv.org/abs/1611.04051).

Unbiased. Bernoulli and categorical. One evaluation, and one per value of every variable.

Reference: Titsias & Lázaro-Gredilla (2015), https://arxiv.org/abs/1503.01494
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from estbench.core.node import Node
from estbench.families.control_variate import ControlVariate, WhatIf


class LocalExpectation(ControlVariate):
    """The local expectation gradient.

    Args:
        common: whether later nodes share their noise between the values instead of being sampled independently.
    """

    unbiased = True
    differentiates = False
    paper = "Titsias & Lázaro-Gredilla (2015), https://arxiv.org/abs/1503.01494"

    def __init__(self, *, common: bool = False) -> None:
        super().__init__()
        self.common = common

    def evaluations(self, nodes: Sequence[Node]) -> int:
        return 1 + sum(node.classes().logits[(0,) * node.batch_ndim].numel() for node in nodes)

    def stand_in(self, node: Node, noise: Tensor) -> Tensor:
        return node.discretise(noise) if self.common else node.sample()

    def gradient(self, name: str, node: Node, noise: Tensor, cost: Tensor, what_if: WhatIf) -> Tensor:
        hot, classes = node.to_hot(node.discretise(noise)), node.classes()
        units, number = hot.shape[-2:]
        own = torch.eye(units, dtype=torch.bool, device=hot.device)[:, None, :, None]
        every = torch.eye(number, dtype=hot.dtype, device=hot.device)[:, None, :]
        own, every = (x.reshape(*x.shape[:-2], *(1,) * node.batch_ndim, *x.shape[-2:]) for x in (own, every))
        if node.masks:
            # a masked class has weight 0; the cost is evaluated at the sampled value instead
            own = own & classes.free.movedim((-2, -1), (0, 1))[..., None, None]
        costs = what_if(node.from_hot(torch.where(own, every, hot).flatten(0, 1)))
        table = costs.expand(units * number, *cost.shape).unflatten(0, (units, number)).movedim((0, 1), (-2, -1))
        return node.from_hot(classes.covariance(classes.mean, table))
