r"""REINFORCE: the score function times the cost.

.. math:: g = \tfrac1K \sum_k f(b_k) \, \nabla \log q(b_k)

With ``normalise`` the cost is divided by the root of its running mean square if that is above 1, as in Mnih & Gregor
(2014); this rescales the gradient, which is then unbiased only up to scale.

Unbiased. Bernoulli, categorical, subset, normal and permutation. K evaluations.

Reference: Williams (1992), https://doi.org/10.1007/BF00992696
"""

import torch
from torch import Tensor

from estbench.core.node import Node
from estbench.families.score_function import ScoreFunction


class Reinforce(ScoreFunction):
    """The score-function estimator without a baseline.

    Args:
        samples: number of joint samples per gradient.
        normalise: whether to divide the cost by the root of its running mean square.
    """

    unbiased = True
    paper = "Williams (1992), https://doi.org/10.1007/BF00992696"

    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        return torch.zeros_like(cost)
