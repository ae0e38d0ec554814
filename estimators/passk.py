r"""Pass@k: only the best of K samples has an advantage, which is its distance to the second best.

.. math:: g = \tfrac1K \bigl(f_{(1)} - f_{(2)}\bigr) \, \nabla \log q(b_{(1)})

where :math:`f_{(1)} \le f_{(2)} \le \dots` are the sorted costs. Its mean is :math:`\tfrac1K` of the gradient of
:math:`\mathbb E \min_k f(b_k)`. If costs are minus rewards, this is minus the expected best reward of K samples (max@k;
for rewards of 0 and 1, pass@k). It follows from the leave-one-out baseline: without sample k, the best of the group
changes only if k is the best.

By default verl also divides by the deviation of the group. The mean is then no multiple of this gradient, so the
division is omitted here. The estimator's value is the mean cost of the samples, not the best one.

Biased, since its target is not the expected cost. Bernoulli, categorical, subset, normal and permutation. K
evaluations.

Reference: Tang, Zheng, Synnaeve & Munos (2025), https://arxiv.org/abs/2503.19595; verl,
``compute_grpo_passk_outcome_advantage``
"""

import torch
from torch import Tensor

from estbench.core.node import Node
from estbench.families.score_function import ScoreFunction


class PassK(ScoreFunction):
    """The score function of the best of several samples.

    Args:
        samples: number of joint samples per gradient, the k of pass@k; at least 2.
    """

    unbiased = False
    paper = "Tang, Zheng, Synnaeve & Munos (2025), https://arxiv.org/abs/2503.19595"

    def __init__(self, samples: int = 4) -> None:
        if samples < 2:
            raise ValueError(f"pass@k compares the best two samples, so it needs at least 2; got {samples}")
        super().__init__(samples)

    def advantage(self, name: str, node: Node, cost: Tensor, value: Tensor, **facts: Tensor) -> Tensor:
        (best, second), (index, _) = cost.topk(2, 0, largest=False)
        which = torch.arange(self.samples, device=cost.device).reshape(-1, *(1,) * index.ndim)
        return torch.where(which == index, best - second, 0.0)
