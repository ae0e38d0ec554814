r"""REINFORCE with a moving average of past costs as baseline.

.. math:: g = \tfrac1K \sum_k (f(b_k) - c) \, \nabla \log q(b_k), \qquad c \leftarrow \alpha c + (1 - \alpha) \bar f

The average of *previous* steps is subtracted, since an average that includes the current cost would bias the gradient.

With ``normalise`` the difference is divided by its running deviation if that is above 1, as in Mnih & Gregor (2014);
this rescales the gradient, which is then unbiased only up to scale.

Unbiased. Bernoulli, categorical, subset, normal and permutation. K evaluations.

Reference: Williams (1992), https://doi.org/10.1007/BF00992696
"""

from torch import Tensor

from estbench.core.networks import MovingAverage
from estbench.core.node import Node
from estbench.families.score_function import ScoreFunction


class ReinforceMovingAverage(ScoreFunction):
    r"""The score-function estimator with a moving-average baseline.

    Args:
        samples: number of joint samples per gradient.
        decay: weight :math:`\alpha` of the earlier average in each update.
        normalise: whether to divide by the running deviation.
    """

    unbiased = True
    paper = "Williams (1992), https://doi.org/10.1007/BF00992696"

    def __init__(self, samples: int = 1, decay: float = 0.9, *, normalise: bool = False) -> None:
        super().__init__(samples, normalise=normalise)
        self.average = MovingAverage(decay)

    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        return self.average.value.to(cost)

    def observe(self, cost: Tensor) -> None:
        self.average.update(cost.mean())
