r"""Gumbel-Softmax (Concrete): differentiates through relaxed samples.

.. math:: z = \mathrm{softmax}((\ell + \varepsilon) / \tau), \qquad g = \nabla_\ell f(z)

Bernoulli nodes take the sigmoid of logistic noise in its place (binary Concrete).

Biased; bias falls and variance grows as the temperature goes to 0. Bernoulli and categorical. One evaluation,
at a relaxed sample; uses the derivative of the cost.

Reference: Jang, Gu & Poole (2017), https://arxiv.org/abs/1611.01144; Maddison, Mnih & Teh (2017),
https://arxiv.org/abs/1611.00712
"""

from torch import Tensor

from estbench.estimator import Pathwise, positive
from estbench.node import Node


class GumbelSoftmax(Pathwise):
    """The Gumbel-Softmax estimator.

    Args:
        temperature: of the relaxation.
    """

    unbiased = False
    hard = False
    paper = "Jang, Gu & Poole (2017), https://arxiv.org/abs/1611.01144"

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = positive("temperature", temperature)

    def sample(self, name: str, node: Node) -> Tensor:
        return node.soften(node.noise(), self.temperature)
