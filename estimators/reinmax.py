r"""ReinMax: straight-through of second order, with Heun's method instead of Euler's.

.. math:: g = \big(2 J(\tfrac12 (p_\tau + b)) - \tfrac12 J(p)\big) f'(b), \qquad
    J(q) = \mathrm{diag}\, q - q q^\top

with :math:`p_\tau` the probabilities at temperature :math:`\tau`.

Biased, but exact where the cost is quadratic in each variable. Bernoulli (as two classes) and categorical. One
evaluation; uses the derivative of the cost.

Reference: Liu, Dong, Liu, Yu & Gao (2023), https://arxiv.org/abs/2304.08612
"""

from torch import Tensor

from estbench.core.estimator import silent
from estbench.core.node import Node
from estbench.families.pathwise import Tempered


class ReinMax(Tempered):
    """The ReinMax estimator; its options are those of the temperature."""

    unbiased = False
    hard = True
    paper = "Liu, Dong, Liu, Yu & Gao (2023), https://arxiv.org/abs/2304.08612"

    def sample(self, name: str, node: Node) -> Tensor:
        value = node.sample()
        midpoint = (node.at(node.logits / self.tau(node)).mean + value).detach() / 2
        mean = node.mean.detach()
        # the product with J is linear in its direction, so its derivative for the logits as direction is J
        slope = 2 * node.covariance(midpoint, node.logits) - node.covariance(mean, node.logits) / 2
        return value + silent(slope)
