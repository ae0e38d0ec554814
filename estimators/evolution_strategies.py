r"""Evolution strategies: Gaussian perturbations of all logits, in mirrored pairs.

.. math:: g = \tfrac1{2K} \sum_{k, \pm} \pm \, f(b(\ell \pm \sigma u_k, \varepsilon_k)) \, u_k / \sigma, \qquad
    u_k \sim \mathcal N(0, 1)

The two members of a pair share the noise of their samples.

Biased; its mean is the gradient of the expected cost smoothed over the logits, and the bias is of order
:math:`\sigma^2`. Bernoulli and categorical. 2 K evaluations.

Reference: Salimans, Ho, Chen, Sidor & Sutskever (2017), https://arxiv.org/abs/1703.03864
"""

import torch
from torch import Tensor

from estbench.core.estimator import positive
from estbench.core.node import Node
from estbench.core.noise import randn
from estbench.families.perturbed import Perturbed, mirrored


class EvolutionStrategies(Perturbed):
    r"""Evolution strategies over the logits.

    Args:
        pairs: number of mirrored pairs of perturbations per gradient.
        deviation: standard deviation :math:`\sigma` of the perturbations.
    """

    unbiased = False
    exact_samples = False
    paper = "Salimans, Ho, Chen, Sidor & Sutskever (2017), https://arxiv.org/abs/1703.03864"

    def __init__(self, pairs: int = 1, deviation: float = 0.5) -> None:
        super().__init__()
        if pairs < 1:
            raise ValueError(f"evolution strategies need at least 1 pair; got {pairs}")
        self.perturbations = 2 * pairs
        self.deviation = positive("deviation", deviation)

    def perturb(self, node: Node) -> tuple[Tensor, Tensor]:
        half = node.logits[: self.perturbations // 2]
        direction = randn(half.shape, half)
        noise, sign = mirrored(node, direction, self.deviation)
        return noise, sign * torch.cat([direction, direction]) / self.deviation
