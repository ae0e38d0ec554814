r"""SIMPLE: an exact subset in the forward pass, the Jacobian of the exact marginals in the backward pass.

.. math:: S \sim p, \qquad g = \Big(\frac{\partial \mu}{\partial \ell}\Big)^{\!\top} f'(S), \qquad
    \mu_i = P(i \in S)

This is straight-through for subsets, with the derivative of the mean; the Jacobian is the covariance matrix of the
items.

Biased, but exact where the cost is linear in the items. Subset. One evaluation; uses the derivative of the cost.

Reference: Ahmed, Zeng, Niepert & Van den Broeck (2023), https://arxiv.org/abs/2210.01941
"""

from torch import Tensor

from estbench.core.estimator import silent
from estbench.core.node import Node, Subset
from estbench.families.pathwise import Pathwise


class SIMPLE(Pathwise):
    """The SIMPLE estimator of k-subset distributions."""

    accepts = (Subset,)
    unbiased = False
    hard = True
    paper = "Ahmed, Zeng, Niepert & Van den Broeck (2023), https://arxiv.org/abs/2210.01941"

    def sample(self, name: str, node: Node) -> Tensor:
        return node.sample() + silent(node.mean)
