r"""OPO: the score function with the mean cost of the group as baseline, weighted by length.

.. math:: g = \tfrac1K \sum_k \Big(f(b_k) - \frac{\sum_j l_j f(b_j)}{\sum_j l_j}\Big) \nabla \log q(b_k)

:math:`l_j` is the length of a sample: how many variables it had a choice in, as the tokens of a sequence up to its end.
The paper derives the baseline of least variance, weighted by the squared norm of the score, and takes this norm to
grow with the length. The own sample is in both sums, so that for lengths that differ the mean is no multiple of the
gradient. With ``leave_one_out`` the own sample is left out of both, and the estimator is unbiased.

Biased, unbiased with ``leave_one_out``. Bernoulli, categorical and subset. K evaluations.

Reference: Hao et al. (2025), https://arxiv.org/abs/2505.23585; verl, ``compute_opo_outcome_advantage``. Leaving one out
is not in the paper.
"""

from torch import Tensor

from estbench.core.node import Node
from estbench.families.score_function import ScoreFunction


class OPO(ScoreFunction):
    """The score function with the length-weighted mean cost as baseline.

    Args:
        samples: joint samples per gradient, the group; at least 2.
        leave_one_out: whether the baseline of a sample leaves out the sample itself.
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
        # equal costs have advantage exactly 0
        apart = cost - cost[:1]
        # a sample without any choice has no score, and whatever its advantage, adds nothing
        length = facts["lengths"].clamp_min(1)
        total, lengths = (length * apart).sum(0), length.sum(0)
        if self.leave_one_out:
            total, lengths = total - length * apart, lengths - length
        return apart - total / lengths
