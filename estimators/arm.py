r"""ARM: augment, REINFORCE, merge; antithetic uniform noise.

.. math:: g = \big(f(1[u > \sigma(-\ell)]) - f(1[u < \sigma(\ell)])\big)\,(u - \tfrac12)

Unbiased. Bernoulli. Two evaluations per node.

Reference: Yin & Zhou (2019), https://arxiv.org/abs/1807.11143
"""

from torch import Tensor

from estbench.core.node import Node
from estbench.families.coupled import Antithetic


class ARM(Antithetic):
    """The augment-REINFORCE-merge estimator."""

    unbiased = True
    paper = "Yin & Zhou (2019), https://arxiv.org/abs/1807.11143"

    def gradient(self, node: Node, noise: Tensor, cost: Tensor) -> Tensor:
        return node.lift(cost[0] - cost[1]) * (noise[0].sigmoid() - 0.5)
