r"""SFESS: the score function of subsets, from exact samples, with the other samples' mean as baseline.

.. math:: g = \tfrac1K \sum_j (f(S_j) - c_j) \, \nabla \log p(S_j), \qquad
    \nabla_{\ell_i} \log p(S) = 1[i \in S] - P(i \in S)

with :math:`c_j` the mean cost of the other samples, or 0 for one sample. The paper takes the normaliser of p from a
discrete Fourier transform; here it comes from a sum in logarithms, which gives the same numbers and keeps its precision
at logits of any size.

The samples here are exact. The authors' public code draws by Gumbel top-k, which is another distribution, so that it
estimates another gradient; and its baseline is the mean of all samples, the own one included, which makes the
gradient (K - 1) / K as long: ``baseline="mean"``. With the default the estimator is RLOO for subsets, and for one
sample REINFORCE, with the same values from the same seed.

Unbiased. Subset. K evaluations.

Reference: Wijk, Vinuesa & Azizpour (2025), https://arxiv.org/abs/2407.16058
"""

from typing import Literal

import torch
from torch import Tensor

from estbench.core.node import Node, Subset
from estbench.families.score_function import ScoreFunction


class SFESS(ScoreFunction):
    """The score-function estimator for subset sampling.

    Args:
        samples: subsets per gradient.
        baseline: the mean cost of the ``others``, or the ``mean`` of all samples, which biases the gradient.
    """

    accepts = (Subset,)
    unbiased = True
    paper = "Wijk, Vinuesa & Azizpour (2025), https://arxiv.org/abs/2407.16058"

    def __init__(self, samples: int = 2, baseline: Literal["others", "mean"] = "others") -> None:
        super().__init__(samples)
        if baseline not in ("others", "mean"):
            raise ValueError(f"the baseline is the mean cost of the others, or the mean of all; got {baseline!r}")
        self.own = baseline == "mean"
        if self.own:
            self.unbiased = False

    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        if self.own:
            return cost.mean(0)
        if self.samples == 1:
            return torch.zeros_like(cost)
        return (cost.sum(0) - cost) / (self.samples - 1)
