r"""Straight-through: a hard sample forward, and the derivative of the mean or of the identity backward.

.. math:: g = J(p)^\top f'(b), \qquad J(p) = \partial p / \partial \ell

or, with ``derivative="identity"``, :math:`g = f'(b)`; the original paper has both forms. For one class of several, the
first form is SIMPLE (Ahmed et al. 2023, https://arxiv.org/abs/2210.01941).

Biased; the first form is exact where the cost is linear in each variable. Bernoulli and categorical. One
evaluation; uses the derivative of the cost.

Reference: Bengio, Léonard & Courville (2013), https://arxiv.org/abs/1308.3432
"""

from typing import Literal

from torch import Tensor

from estbench.core.estimator import silent
from estbench.core.node import Node
from estbench.families.pathwise import Pathwise


class StraightThrough(Pathwise):
    """The straight-through estimator.

    Args:
        derivative: ``mean`` for the derivative of the mean, or ``identity`` to use the identity instead.
    """

    unbiased = False
    hard = True
    paper = "Bengio, Léonard & Courville (2013), https://arxiv.org/abs/1308.3432"

    def __init__(self, derivative: Literal["mean", "identity"] = "mean") -> None:
        super().__init__()
        if derivative not in ("mean", "identity"):
            raise ValueError(f"derivative is 'mean' or 'identity'; got {derivative!r}")
        self.derivative = derivative

    def sample(self, name: str, node: Node) -> Tensor:
        return node.sample() + silent(node.mean if self.derivative == "mean" else node.logits)
