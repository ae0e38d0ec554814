r"""Slope-annealed straight-through: the derivative is that of a sigmoid that becomes steeper during training.

.. math:: g = \Big(\frac{\partial}{\partial \ell} \sigma(a \ell)\Big)^{\!\top} f'(b), \qquad
    a = 1 / \max(\mathrm{floor}, \mathrm{temperature} \cdot e^{-\mathrm{rate} \cdot t})

The sample follows :math:`q` throughout. In the paper the slope of a hard sigmoid grows by a constant per epoch. Here
the slope is the inverse of a temperature, so it grows by a factor, on the schedule that all temperatures share.

Biased. Bernoulli and categorical (softmax). One evaluation; uses the derivative of the cost.

Reference: Chung, Ahn & Bengio (2017), https://arxiv.org/abs/1609.01704
"""

from torch import Tensor

from estbench.core.estimator import silent
from estbench.core.node import Node
from estbench.families.pathwise import Tempered


class SlopeAnnealed(Tempered):
    """The slope-annealed straight-through estimator; its options are those of the temperature.

    Args:
        temperature, rate, floor, every: schedule of the inverse slope; see ``Tempered``.
    """

    unbiased = False
    hard = True
    paper = "Chung, Ahn & Bengio (2017), https://arxiv.org/abs/1609.01704"

    def __init__(self, temperature: float = 1.0, rate: float = 1e-4, floor: float = 0.2, every: int = 1000) -> None:
        super().__init__(temperature, rate, floor, every)

    def sample(self, name: str, node: Node) -> Tensor:
        return node.sample() + silent(node.at(node.logits / self.tau(node)).mean)
