r"""GRPO: the score function with costs that are centred and divided by their deviation over the group of samples.

.. math:: g = \tfrac1K \sum_k A_k \nabla \log q(b_k), \qquad
    A_k = \frac{f(b_k) - \bar f}{\sqrt{\tfrac1{K-1} \sum_j (f(b_j) - \bar f)^2} + \epsilon}

Rewards are minus costs, so this advantage is minus that of the paper. The deviation depends on the samples, so the
mean is not the gradient of the expected cost. For rewards of 0 and 1 with success rate p and ``tokens=sum``, the mean
is the gradient of p times a factor that depends on p and K. The factor is the mean advantage of a sample with reward 1
minus that of a sample with reward 0, where the other K - 1 rewards are binomial. At K = 2 it is the square root of 1/2
for every p. With growing K it tends to one over the deviation of the reward, so that easy and hard prompts gain weight.
For other rewards even the sign can be wrong: if a risky choice pays 10 with probability .2, a safe one pays 1, and both
are equally probable, the gradient for the risky choice is +.25, while the mean of GRPO is -.106, -.162 and -.139 for
K = 2, 4 and 6.

A group of equal costs has advantage exactly 0 in every dtype. Rounding of the mean would otherwise be divided by a
deviation that consists of the same rounding.

``tokens`` says how the tokens of a sequence are weighted. ``sum`` gives each the weight 1, as in the score of the
sequence. ``mean`` weights by 1 over the length of the sample, as in the paper's loss. ``group`` weights by 1 over the
mean length of the group, as in the loss of DAPO; verl and TRL take this mean over all examples of a batch.

The ratio to an earlier policy and its clipping are omitted, since one step is taken per group, where the ratio is 1.

Biased. Bernoulli, categorical, subset, normal and permutation. K evaluations.

Reference: Shao et al. (2024), https://arxiv.org/abs/2402.03300; the deviation with K - 1 and epsilon 1e-6 as in verl
(``compute_grpo_outcome_advantage``), where TRL has 1e-4; Yu et al. (2025), DAPO, https://arxiv.org/abs/2503.14476
"""

from typing import Literal

import torch
from torch import Tensor

from estbench.core.node import Node
from estbench.families.score_function import ScoreFunction


class GRPO(ScoreFunction):
    """The score function with group-normalised costs.

    Args:
        samples: number of joint samples per gradient, which form the group; at least 2.
        eps: constant that is added to the deviation.
        tokens: how the variables of a sample are weighted, ``sum``, ``mean`` or ``group``.
    """

    unbiased = False
    paper = "Shao et al. (2024), https://arxiv.org/abs/2402.03300"
    facts = ("lengths",)

    def __init__(self, samples: int = 4, eps: float = 1e-6, tokens: Literal["sum", "mean", "group"] = "sum") -> None:
        if samples < 2:
            raise ValueError(f"GRPO takes a deviation over samples, so it needs at least 2; got {samples}")
        if not eps >= 0:
            raise ValueError(f"eps must not be below 0; got {eps}")
        super().__init__(samples)
        self.eps, self.tokens = eps, tokens

    def advantage(self, name: str, node: Node, cost: Tensor, value: Tensor, **facts: Tensor) -> Tensor:
        # the difference of equal numbers is exactly 0, that of a number and a mean of equal numbers is not
        apart = cost - cost[:1]
        centred = apart - apart.mean(0)
        deviation = centred.square().sum(0).div(self.samples - 1).sqrt()
        found = torch.where(deviation == 0, 0.0, centred / (deviation + self.eps))
        return found / self._weight(facts["lengths"])

    def _weight(self, lengths: Tensor) -> Tensor:
        if self.tokens == "sum":
            return torch.ones_like(lengths)
        return (lengths if self.tokens == "mean" else lengths.mean(0)).clamp_min(1)
