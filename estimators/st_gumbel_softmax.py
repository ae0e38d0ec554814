r"""Straight-through Gumbel-Softmax: a hard sample in the forward pass, the derivative of a relaxed one in the backward.

.. math:: b = \mathrm{onehot}(\arg\max (\ell + \varepsilon)), \qquad
    g = \Big(\frac{\partial}{\partial \ell} \mathrm{softmax}((\ell + \varepsilon) / \tau)\Big)^{\!\top} f'(b)

Biased. Bernoulli and categorical. One evaluation; uses the derivative of the cost.

Reference: Jang, Gu & Poole (2017), https://arxiv.org/abs/1611.01144
"""

from torch import Tensor

from estbench.core.estimator import silent
from estbench.core.node import Node
from estbench.families.pathwise import Tempered


class STGumbelSoftmax(Tempered):
    """The straight-through Gumbel-Softmax estimator; its options are those of the temperature."""

    unbiased = False
    hard = True
    paper = "Jang, Gu & Poole (2017), https://arxiv.org/abs/1611.01144"

    def sample(self, name: str, node: Node) -> Tensor:
        noise = node.noise()
        return node.discretise(noise) + silent(node.relax(noise, self.tau(node)))
