r"""Gumbel-Rao: straight-through Gumbel-Softmax, its derivative averaged over the noise given the sample.

.. math:: g = \tfrac1K \sum_k \Big(\frac{\partial}{\partial \ell}
    \mathrm{softmax}((\ell + \varepsilon_k) / \tau)\Big)^{\!\top} f'(b), \qquad \varepsilon_k \sim p(\varepsilon | b)

Its expectation is that of straight-through Gumbel-Softmax; its variance is smaller, and falls with K to that of
the exact conditional mean. As the temperature goes to 0 that mean is ZGR.

Biased. Bernoulli and categorical. One evaluation; uses the derivative of the cost.

Reference: Paulus, Maddison & Krause (2021), https://arxiv.org/abs/2010.04838
"""

from torch import Tensor

from estbench.estimator import Tempered, silent
from estbench.node import Node


class GumbelRao(Tempered):
    """The Gumbel-Rao estimator with Monte Carlo samples of the noise.

    Args:
        noises: samples of the noise given the hard sample.
        temperature: of the relaxation, at the start.
        rate: at which it falls per training step; 0 keeps it constant.
        floor: below which it does not fall.
        every: how many training steps it stays the same between updates.
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
        if noises < 1:
            raise ValueError(f"Gumbel-Rao averages over noise, so it needs at least 1; got {noises}")
        self.noises = noises

    def sample(self, name: str, node: Node) -> Tensor:
        value = node.sample()
        noise = node.noise_given(value.expand(self.noises, *value.shape)).detach()
        return value + silent(node.soften(noise, self.tau(node)).mean(0))
