r"""James-Stein: RLOO with a baseline that is shrunk towards the mean cost of the other examples of the batch.

.. math:: g = \tfrac1K \sum_k \bigl(f_{ik} - (1 - \lambda) \bar f_{i,-k} - \lambda \bar f_{-i}\bigr)
    \nabla \log q(b_{ik})

:math:`\bar f_{i,-k}` is the mean over the other samples of example i, and :math:`\bar f_{-i}` the mean over all samples
of all other examples. A few samples estimate the mean of one example poorly, and if the examples are alike, the mean of
the others is the better baseline. The shrinkage :math:`\lambda` is an option and depends on no sample, so that the
estimator is unbiased; the paper computes it from the rewards of the batch, by a formula that was not checked here. With
:math:`\lambda = 0`, or if the batch has one example, the estimator is RLOO.

Unbiased. Bernoulli, categorical, subset, normal and permutation. K evaluations.

Reference: Zeng, Zhou, Arora & Zanette (2025), https://arxiv.org/abs/2511.03710
"""

from torch import Tensor

from estbench.core.estimator import mean_of_others
from estbench.core.node import Node
from estbench.families.score_function import ScoreFunction


class JamesStein(ScoreFunction):
    r"""The score function with a leave-one-out baseline that is shrunk towards the mean of the batch.

    Args:
        samples: number of joint samples per gradient, at least 2.
        shrinkage: weight :math:`\lambda` of the mean of the other examples, from 0 to 1.
    """

    unbiased = True
    couples_examples = True
    paper = "Zeng, Zhou, Arora & Zanette (2025), https://arxiv.org/abs/2511.03710"

    def __init__(self, samples: int = 4, shrinkage: float = 0.5) -> None:
        if samples < 2:
            raise ValueError(f"James-Stein leaves one sample out, so it needs at least 2; got {samples}")
        if not 0 <= shrinkage <= 1:
            raise ValueError(f"shrinkage is a weight from 0 to 1; got {shrinkage}")
        super().__init__(samples)
        self.shrinkage = shrinkage

    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        own = mean_of_others(cost)
        means = cost.mean(0)
        if means.numel() < 2:
            return own
        others = (means.sum() - means) / (means.numel() - 1)
        return (1 - self.shrinkage) * own + self.shrinkage * others
