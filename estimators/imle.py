r"""I-MLE: how the perturbed argmax moves when the logits move against the cost's derivative.

.. math:: b = \mathrm{onehot}(\arg\max(\ell + \varepsilon)), \qquad
    g = \tfrac1\lambda \big[b - \mathrm{onehot}(\arg\max(\ell - \lambda f'(b) + \varepsilon))\big]

with Gumbel noise for classes and logistic noise for bits, with which the samples are exact. The derivative is that of
the cost of each example, and does not depend on the size of the batch. The estimator ``imle_subset`` does the same for
subsets.

Biased; a larger :math:`\lambda` increases the bias, and a smaller one the variance. Bernoulli and categorical. One
evaluation; uses the derivative of the cost.

Reference: Niepert, Minervini & Franceschi (2021), https://arxiv.org/abs/2106.01798
"""

from torch import Tensor

from estbench.core.node import Node
from estbench.families.implicit import Implicit


class IMLE(Implicit):
    r"""Implicit maximum-likelihood estimation with perturb-and-MAP.

    Args:
        strength: the factor :math:`\lambda` of the derivative by which the logits are moved.
    """

    unbiased = False
    hard = True
    paper = "Niepert, Minervini & Franceschi (2021), https://arxiv.org/abs/2106.01798"

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__(strength)

    def noise(self, node: Node) -> Tensor:
        return node.noise()

    def solve(self, node: Node, noise: Tensor) -> Tensor:
        return node.discretise(noise)
