r"""Straight-through: a hard sample forward, the mean's derivative backward.

.. math:: g = J(p)^\top f'(b), \qquad J(p) = \partial p / \partial \ell

Biased, but exact where the cost is linear in each variable. Bernoulli and categorical. One evaluation; uses
the derivative of the cost.

Reference: Bengio, Léonard & Courville (2013), https://arxiv.org/abs/1308.3432
"""

from torch import Tensor

from estbench.estimator import Pathwise, silent
from estbench.node import Node


class StraightThrough(Pathwise):
    """The straight-through estimator, in the form with the derivative of the sigmoid or softmax."""

    unbiased = False
    hard = True
    paper = "Bengio, Léonard & Courville (2013), https://arxiv.org/abs/1308.3432"

    def sample(self, name: str, node: Node) -> Tensor:
        return node.sample() + silent(node.mean)
