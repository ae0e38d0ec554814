r"""RLOO: REINFORCE with the mean cost of the other samples as baseline (leave-one-out).

.. math:: g = \tfrac1K \sum_k \Big(f(b_k) - \tfrac{1}{K-1} \sum_{j \ne k} f(b_j)\Big) \nabla \log q(b_k)

Unbiased. Bernoulli, categorical, subset, normal and permutation. K evaluations.

Reference: Salimans & Knowles (2014), https://arxiv.org/abs/1401.1022; Kool, van Hoof & Welling (2019),
https://openreview.net/forum?id=r1lgTGL5DE
"""

from torch import Tensor

from estbench.core.estimator import mean_of_others
from estbench.core.node import Node
from estbench.families.score_function import ScoreFunction


class RLOO(ScoreFunction):
    """The score-function estimator with the leave-one-out baseline.

    Args:
        samples: number of joint samples per gradient, at least 2.
    """

    unbiased = True
    paper = "Kool, van Hoof & Welling (2019), https://openreview.net/forum?id=r1lgTGL5DE"

    def __init__(self, samples: int = 2) -> None:
        if samples < 2:
            raise ValueError(f"RLOO leaves one sample out, so it needs at least 2; got {samples}")
        super().__init__(samples)

    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        return mean_of_others(cost)
