r"""SPSA: simultaneous perturbation of all logits by random signs, in mirrored pairs.

.. math:: g = \tfrac1{2K} \sum_{k, \pm} \pm \, \frac{f(b(\ell \pm h u_k, \varepsilon_k))}{h \, u_k}, \qquad
    u_k \in \{-1, 1\}^n

The two members of a pair share the noise of their samples.

Biased; the bias is of order :math:`h^2`. Bernoulli and categorical. 2 K evaluations.

Reference: Spall (1992), https://doi.org/10.1109/9.119632
"""

import torch
from torch import Tensor

from estbench.core.estimator import positive
from estbench.core.node import Node
from estbench.core.noise import rand
from estbench.families.perturbed import Perturbed, mirrored


class SPSA(Perturbed):
    """Simultaneous perturbation stochastic approximation.

    Args:
        pairs: number of mirrored pairs of perturbations per gradient.
        step: the distance :math:`h` by which each logit is moved.
    """

    unbiased = False
    exact_samples = False
    paper = "Spall (1992), https://doi.org/10.1109/9.119632"

    def __init__(self, pairs: int = 1, step: float = 0.5) -> None:
        super().__init__()
        if pairs < 1:
            raise ValueError(f"SPSA needs at least 1 pair; got {pairs}")
        self.perturbations = 2 * pairs
        self.step = positive("step", step)

    def perturb(self, node: Node) -> tuple[Tensor, Tensor]:
        half = node.logits[: self.perturbations // 2]
        direction = rand(half.shape, half).round() * 2 - 1
        noise, sign = mirrored(node, direction, self.step)
        return noise, sign / (self.step * torch.cat([direction, direction]))
