r"""Gumbel-Rao: straight-through Gumbel-Softmax with its derivative averaged over the noise given the sample.

.. math:: g = \tfrac1K \sum_k \Big(\frac{\partial}{\partial \ell}
    \mathrm{softmax}((\ell + \varepsilon_k) / \tau)\Big)^{\!\top} f'(b), \qquad \varepsilon_k \sim p(\varepsilon | b)

Its expectation is that of straight-through Gumbel-Softmax. Its variance is smaller, and falls with K to that of the
exact conditional mean. For a bit this mean is a single integral, which ``noises=0`` computes by quadrature. For more
classes it has no closed form, but it tends to ZGR as the temperature goes to 0.

Biased. Bernoulli and categorical. One evaluation; uses the derivative of the cost.

Reference: Paulus, Maddison & Krause (2021), https://arxiv.org/abs/2010.04838
"""

import numpy as np
import torch
from torch import Tensor

from estbench.core.estimator import NotApplicableError, silent
from estbench.core.node import Bernoulli, Node, softplus
from estbench.families.pathwise import Tempered


class GumbelRao(Tempered):
    """The Gumbel-Rao estimator.

    Args:
        noises: number of samples of the noise given the hard sample; 0 for the exact mean, which exists for Bernoulli
            nodes only.
        temperature, rate, floor, every: schedule of the temperature; see ``Tempered``.
    """

    unbiased = False
    hard = True
    paper = "Paulus, Maddison & Krause (2021), https://arxiv.org/abs/2010.04838"

    def __init__(
        self,
        noises: int = 10,
        temperature: float = 1.0,
        rate: float = 0.0,
        floor: float = 0.5,
        every: int = 1000,
    ) -> None:
        super().__init__(temperature, rate, floor, every)
        if noises < 0:
            raise ValueError(f"Gumbel-Rao needs noises >= 1, or 0 for the exact mean over the noise; got {noises}")
        self.noises = noises

    def sample(self, name: str, node: Node) -> Tensor:
        value = node.sample()
        if self.noises:
            noise = node.noise_given(value.expand(self.noises, *value.shape)).detach()
            return value + silent(node.relax(noise, self.tau(node)).mean(0))
        if not isinstance(node, Bernoulli):
            raise NotApplicableError(f"Gumbel-Rao has an exact mean for Bernoulli nodes only; set noises for {name!r}")
        return value + silent(self._slope(node, value) * node.logits)

    def _slope(self, node: Node, value: Tensor) -> Tensor:
        """Mean derivative of the relaxed bit given the hard one, by Gauss-Legendre quadrature over the noise."""
        x, weights = (node.logits.new_tensor(each) for each in np.polynomial.legendre.leggauss(64))
        x, weights = (each.reshape(-1, *(1,) * value.ndim) for each in ((x + 1) / 2, weights / 2))
        tau, centre = self.tau(node), ((2 * value - 1) * node.logits).detach()
        # beyond this point the integrand is smaller by a factor of 1e17
        reach = torch.minimum(centre.clamp_min(0) + 40 * tau / (1 + tau), 40 * tau / (1 - tau).clamp_min(1e-6))
        z = reach * x
        density = (_log_slope(z - centre) + softplus(-centre)).exp()
        return reach * (weights * _log_slope(z / tau).exp() / tau * density).sum(0)


def _log_slope(x: Tensor) -> Tensor:
    """Logarithm of the derivative of the sigmoid, which is the density of logistic noise."""
    return -x.abs() - 2 * softplus(-x.abs())
