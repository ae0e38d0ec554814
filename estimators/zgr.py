r"""ZGR: Gumbel-Rao at temperature zero, which is the mean of straight-through and DARN.

.. math:: g = \tfrac12 \big[J(p) f'(b) + f'(b)^\top (b - p) \, \nabla \log q(b)\big]

for each unit. For bits this is DARN's :math:`\tfrac12 |b - p| f'(b)`, and also equal to ReinMax.

Biased, but exact where the cost is quadratic in each variable. Bernoulli and categorical. One evaluation; uses
the derivative of the cost.

Reference: Shekhovtsov (2023), https://arxiv.org/abs/2208.00549
"""

from torch import Tensor

from estbench.core.estimator import silent
from estbench.core.node import Node, log_softmax
from estbench.families.pathwise import Pathwise


class ZGR(Pathwise):
    """The zero-temperature Gumbel-Rao estimator."""

    unbiased = False
    hard = True
    paper = "Shekhovtsov (2023), https://arxiv.org/abs/2208.00549"

    def sample(self, name: str, node: Node) -> Tensor:
        value = node.sample()
        hot, of_classes = node.to_hot(value), node.classes()
        log_q = (hot * log_softmax(of_classes.logits)).sum(-1, keepdim=True)
        score_part = node.from_hot(of_classes.score(hot).detach() * log_q)
        return value + silent((node.mean + score_part) / 2)
