r"""MuProp, centred and normalised: what is left of the cost is centred and divided by its deviation.

.. math:: g = \frac{r(b) - c}{\max(1, \sigma)} \nabla \log q(b) + J(p) f'(p), \qquad
    r(b) = f(b) - f(p) - f'(p)^\top (b - p)

with running mean :math:`c` and deviation :math:`\sigma` of the residual at earlier steps: MuProp-C-VN.

Biased by the scale alone. Bernoulli and categorical. One evaluation and one per node; uses the derivative of the cost.

Reference: Gu, Levine, Sutskever & Mnih (2016), https://arxiv.org/abs/1511.05176
"""

from torch import Tensor, nn
from torch.func import grad_and_value

from estbench.estimators.muprop import MuProp
from estbench.families.control_variate import WhatIf
from estbench.networks import MovingAverage
from estbench.node import Node


class MuPropNormalised(MuProp):
    """MuProp with centring and variance normalisation."""

    unbiased = False

    def __init__(self) -> None:
        super().__init__()
        self.centres, self.powers = nn.ModuleDict(), nn.ModuleDict()

    def build(self, name: str, node: Node) -> None:  # noqa: ARG002
        self.centres[name], self.powers[name] = MovingAverage(0.9), MovingAverage(0.9)

    def gradient(self, name: str, node: Node, noise: Tensor, cost: Tensor, what_if: WhatIf) -> Tensor:
        def at(value: Tensor) -> tuple[Tensor, Tensor]:
            each = what_if(value)
            return each.sum(), each

        slope, (_, each) = grad_and_value(at, has_aux=True)(node.mean)
        score = node.score(node.harden(noise))
        residual = cost - each - node.total(slope * score)
        excess = residual - self.centres[name].value
        scale = self.powers[name].value.sqrt().clamp_min(1)
        if self.training:
            self.centres[name].update(residual.mean())
            self.powers[name].update(excess.square().mean())
        return node.lift(excess / scale) * score + node.covariance(node.mean, slope)
