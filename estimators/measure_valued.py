r"""Measure-valued derivative: the difference of the cost under two distributions, for each parameter of each variable.

.. math:: \frac{\partial}{\partial \mu} \mathbb E f = \frac{\mathbb E f(\mu + \sigma w) - \mathbb E f(\mu - \sigma w)}
    {\sigma \sqrt{2 \pi}}, \qquad
    \frac{\partial}{\partial \sigma} \mathbb E f =
    \frac{\mathbb E f(\mu + \sigma m) - \mathbb E f(\mu + \sigma u m)}{\sigma}

with :math:`w` of the Weibull distribution of shape 2 and scale :math:`\sqrt 2`, :math:`m` of the double-sided Maxwell
distribution, and :math:`u` uniform on (0, 1), so that :math:`um` is standard normal. Both members of a pair use the
same :math:`w` or :math:`m`, the other variables are as sampled, and later nodes have common noise. The cost is not
differentiated, so that it may jump. For bits and classes, with the pairs summed out, it is ``local_expectation``.

Unbiased. Normal. One evaluation, and four per variable.

Reference: Mohamed, Rosca, Figurnov & Mnih (2020), section 6, https://arxiv.org/abs/1906.10652; Pflug (1989),
https://doi.org/10.1080/17442508908833549
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from estbench.core.networks import features
from estbench.core.node import Node, Normal
from estbench.core.noise import randn, uniform
from estbench.families.control_variate import ControlVariate, WhatIf


class MeasureValued(ControlVariate):
    """The measure-valued derivative with coupled pairs."""

    accepts = (Normal,)
    unbiased = True
    differentiates = False
    paper = "Mohamed, Rosca, Figurnov & Mnih (2020), https://arxiv.org/abs/1906.10652"

    def evaluations(self, nodes: Sequence[Node]) -> int:
        return 1 + 4 * sum(features(node) for node in nodes)

    def stand_in(self, node: Node, noise: Tensor) -> Tensor:
        return node.discretise(noise)

    def gradient(self, name: str, node: Node, noise: Tensor, cost: Tensor, what_if: WhatIf) -> Tensor:
        assert isinstance(node, Normal)
        units = node.event_shape[0]
        own = torch.eye(units, dtype=torch.bool, device=noise.device).reshape(units, *(1,) * node.batch_ndim, units)
        # a pair of values for the one unit that changes, of all units
        moved = torch.where(own, _pairs(noise)[:, None], noise).flatten(0, 1)
        costs = what_if(node.discretise(moved))
        # costs in the shape of the values, for each member of both pairs
        table = costs.expand(4 * units, *cost.shape).unflatten(0, (4, units)).movedim(1, -1)
        by_loc = (table[0] - table[1]) / math.sqrt(2 * math.pi)
        return torch.cat([by_loc / node.scale, (table[2] - table[3]) / node.scale], -1)


def _pairs(like: Tensor) -> Tensor:
    """Standardised values of the two pairs, ``(4, *batch, units)``: for the locations, and for the scales."""
    weibull = (-2 * uniform(tuple(like.shape), like).log()).sqrt()
    # the square of a Maxwell variable is the sum of three squares of normal ones; the sign is that of one of them
    normal = randn((3, *like.shape), like)
    maxwell = normal.square().sum(0).sqrt().copysign(normal[0])
    return torch.stack([weibull, -weibull, maxwell, uniform(tuple(like.shape), like) * maxwell])
