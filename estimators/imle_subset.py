r"""I-MLE for subsets: how the k items with the largest perturbed logits change when the logits move.

.. math:: S = \mathrm{top}_k(\ell + \varepsilon), \qquad
    g = \tfrac1\lambda \big[S - \mathrm{top}_k(\ell - \lambda f'(S) + \varepsilon)\big], \qquad
    \varepsilon_i = \tfrac1k \Big(\sum_{m=1}^s \gamma_{im} - \log s\Big), \quad \gamma_{im} \sim \Gamma(1/k, k/m)

The sum of k such noises is close to a Gumbel variable, as the noise of a subset would be if each subset had its own; by
that, samples come closer to the distribution of the node than those of Gumbel noise, but are not exact. With
``noise="gumbel"`` they are those of Gumbel top-k, sampling in sequence without replacement. The value is therefore
biased, too. The derivative is that of each example's cost, whatever the batch.

Biased; the larger :math:`\lambda` the more so, and the smaller the larger the variance. Subset. One evaluation; uses
the derivative of the cost.

Reference: Niepert, Minervini & Franceschi (2021), https://arxiv.org/abs/2106.01798, with the noise of the authors' code
(torch-imle)
"""

import math
from typing import Literal

import torch
from torch import Tensor

from estbench.core.estimator import positive
from estbench.core.node import Node, Subset
from estbench.core.noise import gamma, uniform
from estbench.families.implicit import Implicit


class IMLESubset(Implicit):
    r"""Implicit maximum-likelihood estimation of subsets.

    Args:
        strength: :math:`\lambda`, how far the logits move.
        noise: ``sum_of_gamma``, the noise of the paper, or ``gumbel``.
        terms: s, how many gamma variables are summed.
    """

    accepts = (Subset,)
    unbiased = False
    hard = False
    paper = "Niepert, Minervini & Franceschi (2021), https://arxiv.org/abs/2106.01798"

    def __init__(
        self, strength: float = 1.0, noise: Literal["sum_of_gamma", "gumbel"] = "sum_of_gamma", terms: int = 10
    ) -> None:
        super().__init__(strength)
        if noise not in ("sum_of_gamma", "gumbel"):
            raise ValueError(f"the noise is sum_of_gamma or gumbel; got {noise!r}")
        self.gumbel, self.terms = noise == "gumbel", positive("terms", terms)

    def noise(self, node: Node) -> Tensor:
        assert isinstance(node, Subset)
        logits = node.logits.detach()
        if self.gumbel:
            return -(-uniform(logits.shape, logits).log()).log()
        if not node.masks:
            return self._sum_of_gamma(node.k, logits)
        # items that are always in the subset leave fewer to choose, perhaps not equally many in all examples
        total = torch.zeros_like(logits)
        for size in range(1, node.k + 1):
            total = torch.where(node.left == size, self._sum_of_gamma(size, logits), total)
        return total

    def solve(self, node: Node, noise: Tensor) -> Tensor:
        return node.arranged(node.logits + noise).most_probable()

    def _sum_of_gamma(self, size: int, logits: Tensor) -> Tensor:
        total = torch.zeros_like(logits) - math.log(self.terms)
        for m in range(1, self.terms + 1):
            total = total + gamma(1 / size, logits.shape, logits) * (size / m)
        return total / size
