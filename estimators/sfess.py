r"""SFESS: the score function of subsets, from exact samples, with the mean cost of the other samples as baseline.

.. math:: g = \tfrac1K \sum_j (f(S_j) - c_j) \, \nabla \log p(S_j), \qquad
    \nabla_{\ell_i} \log p(S) = 1[i \in S] - P(i \in S)

with :math:`c_j` the mean cost of the other samples, or 0 for one sample. The paper computes the normaliser of p by a
discrete Fourier transform. Here it is a sum of logarithms, which gives the same numbers and keeps its precision for
logits of any size.

The samples here are exact. The authors' public code samples by Gumbel top-k, which is a different distribution, so it
estimates a different gradient. Its baseline is the mean cost of all samples, including the sample itself, which
multiplies the gradient by (K - 1) / K; ``baseline="mean"`` selects it. With the default, the estimator is RLOO for
subsets, and REINFORCE for one sample, with the same values from the same seed.

Unbiased. Subset. K evaluations.

Reference: Wijk, Vinuesa & Azizpour (2025), https://arxiv.org/abs/2407.16058
"""

from typing import Literal

import torch
from torch import Tensor

from estbench.core.estimator import mean_of_others
from estbench.core.node import Node, Subset
from estbench.families.score_function import ScoreFunction


class SFESS(ScoreFunction):
    """The score-function estimator for subset sampling.

    Args:
        samples: number of subsets per gradient.
        baseline: ``others`` for the mean cost of the other samples, or ``mean`` for that of all samples, which biases
            the gradient.
    """

    accepts = (Subset,)
    unbiased = True
    paper = "Wijk, Vinuesa & Azizpour (2025), https://arxiv.org/abs/2407.16058"

    def __init__(self, samples: int = 2, baseline: Literal["others", "mean"] = "others") -> None:
        super().__init__(samples)
        if baseline not in ("others", "mean"):
            raise ValueError(f"the baseline is 'others' or 'mean'; got {baseline!r}")
        self.own = baseline == "mean"
        if self.own:
            self.unbiased = False

    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        if self.own:
            return cost.mean(0)
        if self.samples == 1:
            return torch.zeros_like(cost)
        return mean_of_others(cost)
