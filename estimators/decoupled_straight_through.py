r"""Decoupled straight-through: one temperature for the sample, another for the derivative.

.. math:: b \sim \mathrm{softmax}(\ell / \tau_f), \qquad
    g = \Big(\frac{\partial}{\partial \ell} \mathrm{softmax}(\ell / \tau_b)\Big)^{\!\top} f'(b)

The temperature of the sample divides the logits and not the noise, since dividing both would not change the argmax.
Unless :math:`\tau_f = 1`, the samples do not follow :math:`q`, and the objective is a different one. If both
temperatures are 1, the estimator is straight-through.

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
        forward_temperature: temperature of the sample.
        temperature, rate, floor, every: schedule of the temperature of the derivative; see ``Tempered``.
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
