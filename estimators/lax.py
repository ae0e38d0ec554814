r"""LAX: RELAX for continuous variables, a learned control variate that is differentiated through the sample.

.. math:: g = \bigl(f(z) - c_\psi(z)\bigr) \nabla \log q(z) + c_\psi'(z) \, \frac{\partial z}{\partial (\mu, \sigma)}

:math:`c_\psi` is a network per node that starts at zero, where the estimator is REINFORCE; it is tuned to the least
variance. The cost itself is not differentiated, so that it may be a black box.

Unbiased. Normal. One evaluation.

Reference: Grathwohl, Choi, Wu, Roeder & Duvenaud (2018), https://arxiv.org/abs/1711.00123
"""

from collections.abc import Sequence

from torch import Tensor

from estbench.core.derivatives import derivative
from estbench.core.estimator import positive
from estbench.core.networks import PerNode, features, mlp
from estbench.core.node import Node, Normal
from estbench.families.control_variate import ControlVariate, WhatIf


class LAX(ControlVariate):
    """The LAX estimator.

    Args:
        hidden: width of the network's hidden layer.
    """

    accepts = (Normal,)
    unbiased = True
    differentiates = False
    paper = "Grathwohl, Choi, Wu, Roeder & Duvenaud (2018), https://arxiv.org/abs/1711.00123"

    def __init__(self, hidden: int = 100) -> None:
        super().__init__()
        self.networks = PerNode()
        self.hidden = positive("hidden", hidden)

    def build(self, name: str, node: Node) -> None:
        self.networks[name] = mlp(features(node), (self.hidden,), node.logits)

    def evaluations(self, nodes: Sequence[Node]) -> int:
        return 1

    def stand_in(self, node: Node, noise: Tensor) -> Tensor:
        return node.reparametrised(noise)

    def gradient(self, name: str, node: Node, noise: Tensor, cost: Tensor, what_if: WhatIf) -> Tensor:
        value = node.discretise(noise)
        slope, control = derivative(self.networks.of(name, self), value)
        return node.lift(cost - control) * node.score(value) + node.noise_slope(noise, slope)
