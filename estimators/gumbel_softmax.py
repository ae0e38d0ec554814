r"""Gumbel-Softmax (Concrete): differentiates through relaxed samples.

.. math:: z = \mathrm{softmax}((\ell + \varepsilon) / \tau), \qquad g = \nabla_\ell f(z)

Bernoulli nodes use the sigmoid with logistic noise instead (binary Concrete).

The temperature is constant, or falls during training as in the paper; the options ``rate``, ``floor`` and ``every`` set
its schedule.

Biased; the bias falls and the variance grows as the temperature goes to 0. Bernoulli and categorical. One evaluation,
at a relaxed sample; uses the derivative of the cost.

Reference: Jang, Gu & Poole (2017), https://arxiv.org/abs/1611.01144; Maddison, Mnih & Teh (2017),
https://arxiv.org/abs/1611.00712
"""

from torch import Tensor

from estbench.core.node import Node
from estbench.families.pathwise import Tempered


class GumbelSoftmax(Tempered):
    """The Gumbel-Softmax estimator; its options are those of the temperature."""

    unbiased = False
    hard = False
    paper = "Jang, Gu & Poole (2017), https://arxiv.org/abs/1611.01144"

    def sample(self, name: str, node: Node) -> Tensor:
        return node.relax(node.noise(), self.tau(node))
