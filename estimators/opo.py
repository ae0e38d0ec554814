r"""OPO: the score function with the mean cost of the group as baseline, weighted by length.

.. math:: g = \tfrac1K \sum_k \Big(f(b_k) - \frac{\sum_j l_j f(b_j)}{\sum_j l_j}\Big) \nabla \log q(b_k)

:math:`l_j` is the length of a sample: the number of variables that were not masked to a single value, such as the
tokens of a sequence up to its end. The paper derives the baseline of least variance, which is weighted by the squared
norm of the score, and assumes that this norm grows with the length. Both sums include the sample itself, so the mean is
no multiple of the gradient if lengths differ. With ``leave_one_out`` both sums exclude it, and the estimator is
unbiased.

Biased; unbiased with ``leave_one_out``. Bernoulli, categorical, subset, normal and permutation. K evaluations.

Reference: Hao et al. (2025), https://arxiv.org/abs/2505.23585; verl, ``compute_opo_outcome_advantage``. The option
``leave_one_out`` is not in the paper.
"""

from torch import Tensor

from estbench.core.node import Node
from estbench.families.score_function import ScoreFunction


class OPO(ScoreFunction):
    """The score function with the length-weighted mean cost as baseline.

    Args:
        samples: number of joint samples per gradient, which form the group; at least 2.
        leave_one_out: whether the baseline of a sample excludes the sample itself.
    """

    unbiased = False
    paper = "Hao et al. (2025), https://arxiv.org/abs/2505.23585"
    facts = ("lengths",)

    def __init__(self, samples: int = 4, *, leave_one_out: bool = False) -> None:
        if samples < 2:
            raise ValueError(f"OPO takes a mean over a group, so it needs at least 2 samples; got {samples}")
        super().__init__(samples)
        self.leave_one_out = leave_one_out
        if leave_one_out:
            self.unbiased = True

    def advantage(self, name: str, node: Node, cost: Tensor, value: Tensor, **facts: Tensor) -> Tensor:
        # samples of equal cost have an advantage of exactly 0
        apart = cost - cost[:1]
        # a sample whose variables are all masked to one value has score 0 and adds nothing, whatever its advantage
        length = facts["lengths"].clamp_min(1)
        total, lengths = (length * apart).sum(0), length.sum(0)
        if self.leave_one_out:
            total, lengths = total - length * apart, lengths - length
        return apart - total / lengths
