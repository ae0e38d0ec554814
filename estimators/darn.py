r"""DARN: REINFORCE with the cost's expansion about the sample, taken at a fixed centre, as baseline.

.. math:: g = \big(f(b) - [f(b) + f'(b)^\top (c - b)]\big)\, \nabla \log q(b)
    = \big(f'(b)^\top (b - c)\big)\, (b - p)

variable by variable, with centre :math:`c = \tfrac12` for bits, where it is :math:`\tfrac12 |b - p| \, f'(b)`, and
the uniform distribution :math:`c = 1/C` over the classes that are not masked for one-hot vectors, which is the same for
two classes. The correction term that would make it unbiased is left out.

Biased, but exact where the cost is quadratic in each bit, where straight-through is exact for linear costs only.
Bernoulli and categorical. One evaluation; uses the derivative of the cost.

Reference: Gregor, Danihelka, Mnih, Blundell & Wierstra (2014), https://arxiv.org/abs/1310.8499; for categorical
variables Jang, Gu & Poole (2017) give results but no formula: the one here is this package's reading.
"""

from torch import Tensor

from estbench.core.estimator import silent
from estbench.core.node import Categorical, Node
from estbench.families.pathwise import Pathwise


class DARN(Pathwise):
    """The estimator of deep autoregressive networks."""

    unbiased = False
    hard = True
    paper = "Gregor, Danihelka, Mnih, Blundell & Wierstra (2014), https://arxiv.org/abs/1310.8499"

    def sample(self, name: str, node: Node) -> Tensor:
        value = node.sample()
        along = silent(node.score(value).detach() * node.logits)
        if not isinstance(node, Categorical):
            return value + (value - 0.5) * along
        return value + (value - node.uniform) * along.sum(-1, keepdim=True)
