r"""DARN: REINFORCE with the cost's expansion about the sample, taken at one half, as baseline.

.. math:: g = \big(f(b) - [f(b) + f'(b)^\top (\tfrac12 - b)]\big)\, \nabla \log q(b) \;\to\;
    \tfrac12 |b - p| \, f'(b)

bit by bit. The correction term that would make it unbiased is left out.

Biased, but exact where the cost is quadratic in each bit, and of lower order than straight-through. Bernoulli.
One evaluation; uses the derivative of the cost.

Reference: Gregor, Danihelka, Mnih, Blundell & Wierstra (2014), https://arxiv.org/abs/1310.8499
"""

from torch import Tensor

from estbench.estimator import silent
from estbench.families.pathwise import Pathwise
from estbench.node import Bernoulli, Node


class DARN(Pathwise):
    """The estimator of deep autoregressive networks."""

    accepts = (Bernoulli,)
    unbiased = False
    hard = True
    paper = "Gregor, Danihelka, Mnih, Blundell & Wierstra (2014), https://arxiv.org/abs/1310.8499"

    def sample(self, name: str, node: Node) -> Tensor:
        value = node.sample()
        return value + silent(node.score(value).abs().detach() / 2 * node.logits)
