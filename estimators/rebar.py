r"""REBAR: REINFORCE with the relaxed cost as control variate, made exact by conditional reparametrisation.

.. math:: g = \big(f(b) - \eta f(s_\tau(\tilde z))\big) \nabla \log q(b)
    + \eta \nabla_\ell \big[f(s_\tau(z)) - f(s_\tau(\tilde z))\big]

with :math:`\tilde z \sim p(z \mid b)`, tied to :math:`z` or, with ``coupled=False``, independent of it given
:math:`b`. Scale :math:`\eta` and temperature :math:`\tau` are tuned to the least variance.

Unbiased. Bernoulli and categorical. One evaluation and one per node, or two per node where not coupled; uses the
derivative of the cost.

Reference: Tucker, Mnih, Maddison, Lawson & Sohl-Dickstein (2017), https://arxiv.org/abs/1703.07370
"""

import torch
from torch import Tensor, nn

from estbench.families.control_variate import Relaxed, WhatIf


class REBAR(Relaxed):
    """The REBAR estimator.

    Args:
        temperature: of the relaxation at the start.
        scale: of the control variate at the start.
        coupled: whether the two relaxed values are tied, for one evaluation less.
    """

    unbiased = True
    paper = "Tucker, Mnih, Maddison, Lawson & Sohl-Dickstein (2017), https://arxiv.org/abs/1703.07370"

    def __init__(self, temperature: float = 0.5, scale: float = 1.0, *, coupled: bool = True) -> None:
        super().__init__(temperature, coupled=coupled)
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def control(self, name: str, relaxed: Tensor, what_if: WhatIf) -> Tensor:
        return self.scale * what_if(relaxed)
