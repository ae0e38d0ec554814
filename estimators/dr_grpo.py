r"""Dr. GRPO: the score function with the mean of the group, own sample included, as baseline.

.. math:: g = \tfrac1K \sum_k (f(b_k) - \bar f) \, \nabla \log q(b_k)

For the same samples this is :math:`\tfrac{K-1}{K}` times RLOO, so its mean has the direction of the gradient and is
shorter. Rewards are minus costs, so this advantage is minus that of the paper. The paper's loss also divides by the
largest length of a sequence; this constant is omitted here, since the learning rate can absorb it.

Biased: its mean is (K-1)/K times the gradient. Bernoulli, categorical, subset, normal and permutation. K evaluations.

Reference: Liu et al. (2025), https://arxiv.org/abs/2503.20783; verl, ``norm_adv_by_std_in_grpo=False``
"""

from torch import Tensor

from estbench.core.node import Node
from estbench.families.score_function import ScoreFunction


class DrGRPO(ScoreFunction):
    """The score function with the mean cost of the group as baseline.

    Args:
        samples: number of joint samples per gradient, which form the group; at least 2.
    """

    unbiased = False
    paper = "Liu et al. (2025), https://arxiv.org/abs/2503.20783"

    def __init__(self, samples: int = 4) -> None:
        if samples < 2:
            raise ValueError(f"Dr. GRPO subtracts the mean of a group, so it needs at least 2 samples; got {samples}")
        super().__init__(samples)

    def advantage(self, name: str, node: Node, cost: Tensor, value: Tensor, **facts: Tensor) -> Tensor:
        # samples of equal cost have an advantage of exactly 0
        apart = cost - cost[:1]
        return apart - apart.mean(0)
