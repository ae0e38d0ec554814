r"""DisARM: ARM with the noise integrated out; also derived as U2G.

.. math:: g = \tfrac12 (f(b) - f(\tilde b))\,(b - \tilde b)\,\sigma(|\ell|)

Unbiased. Bernoulli. Two evaluations per node.

Reference: Dong, Mnih & Tucker (2020), https://arxiv.org/abs/2006.10680; Yin, Ho, Yan, Qian & Zhou (2020),
https://arxiv.org/abs/2006.06448
"""

from torch import Tensor

from estbench.core.node import Node
from estbench.families.coupled import Antithetic


class DisARM(Antithetic):
    """The DisARM estimator."""

    unbiased = True
    paper = "Dong, Mnih & Tucker (2020), https://arxiv.org/abs/2006.10680"

    def gradient(self, node: Node, noise: Tensor, cost: Tensor) -> Tensor:
        value, opposite = node.discretise(noise)
        return node.lift(cost[0] - cost[1]) / 2 * (value - opposite) * node.logits.abs().sigmoid()
