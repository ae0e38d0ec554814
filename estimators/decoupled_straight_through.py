r"""Decoupled straight-through: one temperature for the sample, another for the derivative.

.. math:: b \sim \mathrm{softmax}(\ell / \tau_f), \qquad
    g = \Big(\frac{\partial}{\partial \ell} \mathrm{softmax}(\ell / \tau_b)\Big)^{\!\top} f'(b)

The sample's temperature divides the logits and not the noise: dividing both, before an argmax, does nothing.
Unless :math:`\tau_f = 1`, samples are not those of :math:`q` and the objective is another; both temperatures at 1
give straight-through.

Biased. Bernoulli and categorical. One evaluation; uses the derivative of the cost.

Reference: Shah, Yan, Mozer & Liu (2024), https://arxiv.org/abs/2410.13331
"""

from torch import Tensor

from estbench.core.estimator import positive, silent
from estbench.core.node import Node
from estbench.families.pathwise import Tempered


class DecoupledStraightThrough(Tempered):
    """The decoupled straight-through estimator.

    Args:
        forward_temperature: of the sample.
        temperature: of the derivative, at the start.
        rate: at which that falls per training step; 0 keeps it constant.
        floor: below which it does not fall.
        every: how many training steps it stays the same between updates.
    """

    unbiased = False
    hard = False
    paper = "Shah, Yan, Mozer & Liu (2024), https://arxiv.org/abs/2410.13331"

    def __init__(
        self,
        forward_temperature: float = 0.7,
        temperature: float = 1.5,
        rate: float = 0.0,
        floor: float = 0.5,
        every: int = 1000,
    ) -> None:
        super().__init__(temperature, rate, floor, every)
        self.forward_temperature = positive("forward_temperature", forward_temperature)
        self.exact_samples = forward_temperature == 1

    def sample(self, name: str, node: Node) -> Tensor:
        value = node.at(node.logits / self.forward_temperature).sample()
        return value + silent(node.at(node.logits / self.tau(node)).mean)
