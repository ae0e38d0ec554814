r"""ReMax: the score function with the cost of the most probable sample as baseline.

.. math:: g = \tfrac1K \sum_k \bigl(f(b_k) - f(\hat b)\bigr) \, \nabla \log q(b_k)

:math:`\hat b` is the greedy sample, which takes the most probable value of each node in the order of sampling. It is
not random, so the baseline adds no bias. If the greedy sample has reward 0, this is the score function without
baseline.

Unbiased. Bernoulli, categorical, subset, normal and permutation. K + 1 evaluations.

Reference: Li et al. (2024), https://arxiv.org/abs/2310.10505; verl, ``compute_remax_outcome_advantage``
"""

from torch import Tensor

from estbench.core.node import Node
from estbench.families.score_function import ScoreFunction


class ReMax(ScoreFunction):
    """The score function with the cost of the greedy sample as baseline.

    Args:
        samples: number of joint samples per gradient, not counting the greedy one.
    """

    unbiased = True
    paper = "Li et al. (2024), https://arxiv.org/abs/2310.10505"
    facts = ("greedy",)

    def __init__(self, samples: int = 1) -> None:
        super().__init__(samples)

    def advantage(self, name: str, node: Node, cost: Tensor, value: Tensor, **facts: Tensor) -> Tensor:
        return cost - facts["greedy"]
