r"""RELAX: REBAR with a learned function added to the control variate.

.. math:: c(\zeta) = \eta f(s_\tau(\zeta)) + r_\psi(s_\tau(\zeta)), \qquad
    g = (f(b) - c(\tilde z)) \nabla \log q(b) + \nabla_\ell [c(z) - c(\tilde z)]

:math:`r_\psi` is a network per node whose output is zero at the start. The scale, the temperature and the networks are
tuned to minimise the variance. :math:`\tilde z` shares its noise with :math:`z` or, with ``coupled=False``, is
independent of it given :math:`b`.

Unbiased. Bernoulli and categorical. One evaluation and one per node, or two per node without coupling; uses the
derivative of the cost.

Reference: Grathwohl, Choi, Wu, Roeder & Duvenaud (2018), https://arxiv.org/abs/1711.00123
"""

import torch
from torch import Tensor, nn

from estbench.core.estimator import positive
from estbench.core.networks import PerNode, features, mlp
from estbench.core.node import Node
from estbench.families.control_variate import Relaxed, WhatIf


class RELAX(Relaxed):
    """The RELAX estimator.

    Args:
        temperature: initial temperature of the relaxation.
        scale: initial scale of the relaxed cost in the control variate.
        hidden: width of the networks' hidden layer.
        coupled: whether the two relaxed values share their noise, which saves one evaluation per node.
    """

    unbiased = True
    paper = "Grathwohl, Choi, Wu, Roeder & Duvenaud (2018), https://arxiv.org/abs/1711.00123"

    def __init__(
        self, temperature: float = 0.5, scale: float = 1.0, hidden: int = 100, *, coupled: bool = True
    ) -> None:
        super().__init__(temperature, coupled=coupled)
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        self.networks = PerNode()
        self.hidden = positive("hidden", hidden)

    def build(self, name: str, node: Node) -> None:
        self.networks[name] = mlp(features(node), (self.hidden,), node.logits)

    def control(self, name: str, relaxed: Tensor, what_if: WhatIf) -> Tensor:
        cost = what_if(relaxed)
        centred = 2 * relaxed.reshape(*cost.shape, -1) - 1
        return self.scale * cost + self.networks.of(name, self)(centred)
