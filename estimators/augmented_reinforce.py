r"""Augmented REINFORCE: the score of the logits plus noise instead of the score of the sample; ARM before its merge.

.. math:: g = \tfrac1K \sum_k f(b(\ell + \varepsilon_k)) \, \frac{-p'(\varepsilon_k)}{p(\varepsilon_k)}

For bits this is :math:`f(b)\,(1 - 2u)` with uniform :math:`u`. REINFORCE is its mean given the sample, so this
estimator has the larger variance of the two. It is of interest because ARM is derived from it.

Unbiased. Bernoulli and categorical. K evaluations.

Reference: Yin & Zhou (2019), https://arxiv.org/abs/1807.11143
"""

from torch import Tensor

from estbench.core.node import Node
from estbench.families.perturbed import Perturbed


class AugmentedReinforce(Perturbed):
    """The augment-REINFORCE estimator.

    Args:
        samples: number of joint samples per gradient.
    """

    unbiased = True
    paper = "Yin & Zhou (2019), https://arxiv.org/abs/1807.11143"

    def __init__(self, samples: int = 1) -> None:
        super().__init__()
        if samples < 1:
            raise ValueError(f"augmented REINFORCE needs at least 1 sample; got {samples}")
        self.perturbations = samples

    def perturb(self, node: Node) -> tuple[Tensor, Tensor]:
        noise = node.noise()
        return noise, node.noise_score(noise)
