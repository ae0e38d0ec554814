r"""DARN about one half: the centre :math:`c = \tfrac12` in every entry, of one-hot vectors too.

.. math:: g = \big(f'(b)^\top (b - \tfrac12)\big) \, (b - p)

For bits it is ``darn``; ``darn`` takes the uniform distribution :math:`c = 1/C` for one-hot vectors.

Biased. Bernoulli and categorical. One evaluation; uses the derivative of the cost.

Reference: Gu, Levine, Sutskever & Mnih (2016), https://arxiv.org/abs/1511.05176, who name the estimator "1/2"
"""

from torch import Tensor

from estbench.estimator import silent
from estbench.families.pathwise import Pathwise
from estbench.node import Bernoulli, Node


class DARNHalf(Pathwise):
    """The estimator of deep autoregressive networks with one centre for bits and classes."""

    unbiased = False
    hard = True
    paper = "Gu, Levine, Sutskever & Mnih (2016), https://arxiv.org/abs/1511.05176"

    def sample(self, name: str, node: Node) -> Tensor:
        value = node.sample()
        along = silent(node.score(value).detach() * node.logits)
        return value + (value - 0.5) * (along if isinstance(node, Bernoulli) else along.sum(-1, keepdim=True))
