r"""VarGrad: the gradient of half the variance of the cost over the samples, which is the log-variance divergence.

.. math:: g = \tfrac1{K-1} \sum_k (f(b_k) - \bar f) \, \nabla \log q(b_k)

As a gradient estimator it equals RLOO: :math:`\tfrac{K}{K-1}(f_k - \bar f)` is the difference of :math:`f_k` and the
mean of the others. Both give the same values from the same seed.

Unbiased. Bernoulli, categorical, subset, normal and permutation. K evaluations.

Reference: Richter, Boustati, Nüsken, Ruiz & Akyildiz (2020), https://arxiv.org/abs/2010.10436
"""

from torch import Tensor

from estbench.core.node import Node
from estbench.families.score_function import ScoreFunction


class VarGrad(ScoreFunction):
    """The gradient of the log-variance divergence.

    Args:
        samples: number of joint samples per gradient, at least 2.
    """

    unbiased = True
    paper = "Richter, Boustati, Nüsken, Ruiz & Akyildiz (2020), https://arxiv.org/abs/2010.10436"

    def __init__(self, samples: int = 2) -> None:
        if samples < 2:
            raise ValueError(f"VarGrad takes a variance over samples, so it needs at least 2; got {samples}")
        super().__init__(samples)

    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        return cost - (cost - cost.mean(0)) * self.samples / (self.samples - 1)
