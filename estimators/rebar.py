r"""REBAR: REINFORCE with the relaxed cost as control variate, made exact by conditional reparametrisation.

.. math:: g = \big(f(b) - \eta f(s_\tau(\tilde z))\big) \nabla \log q(b)
    + \eta \nabla_\ell \big[f(s_\tau(z)) - f(s_\tau(\tilde z))\big]

with :math:`\tilde z \sim p(z \mid b)`, which shares its noise with :math:`z` or, with ``coupled=False``, is independent
of it given :math:`b`. The scale :math:`\eta` and the temperature :math:`\tau` are tuned to minimise the variance.

Unbiased. Bernoulli and categorical. One evaluation and one per node, or two per node without coupling; uses the
derivative of the cost.

Reference: Tucker, Mnih, Maddison, Lawson & Sohl-Dickstein (2017), https://arxiv.org/abs/1703.07370
"""

import torch
from torch import Tensor, nn

from estbench.families.control_variate import Relaxed, WhatIf


class REBAR(Relaxed):
    """The REBAR estimator.

    Args:
        temperature: initial temperature of the relaxation.
        scale: initial scale of the control variate.
        coupled: whether the two relaxed values share their noise, which saves one evaluation per node.
    """

    unbiased = True
    paper = "Tucker, Mnih, Maddison, Lawson & Sohl-Dickstein (2017), https://arxiv.org/abs/1703.07370"

    def __init__(self, temperature: float = 0.5, scale: float = 1.0, *, coupled: bool = True) -> None:
        super().__init__(temperature, coupled=coupled)
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def control(self, name: str, relaxed: Tensor, what_if: WhatIf) -> Tensor:
        return self.scale * what_if(relaxed)
