r"""GST (gapped straight-through): Gumbel-Softmax with a deterministic shift instead of noise given the sample.

.. math:: g = \Big(\frac{\partial}{\partial \ell} \mathrm{softmax}((\ell + m(b)) / \tau)\Big)^{\!\top} f'(b)

The shift :math:`m` raises the logit of the sampled class to the largest logit, and lowers those of the others until
they are below it by at least the gap. The derivative treats it as constant.

Biased. Bernoulli (as two classes) and categorical. One evaluation; uses the derivative of the cost.

Reference: Fan, Chi, Rudnicky & Ramadge (2022), https://arxiv.org/abs/2206.07235
"""

import torch
from torch import Tensor

from estbench.core.estimator import positive, silent
from estbench.core.node import Node
from estbench.families.pathwise import Tempered


class GST(Tempered):
    """The gapped straight-through estimator.

    Args:
        gap: smallest difference between the shifted logit of the sampled class and the others.
        temperature, rate, floor, every: schedule of the temperature; see ``Tempered``.
    """

    unbiased = False
    hard = True
    paper = "Fan, Chi, Rudnicky & Ramadge (2022), https://arxiv.org/abs/2206.07235"

    def __init__(
        self,
        gap: float = 1.0,
        temperature: float = 1.0,
        rate: float = 0.0,
        floor: float = 0.5,
        every: int = 1000,
    ) -> None:
        super().__init__(temperature, rate, floor, every)
        self.gap = positive("gap", gap)

    def sample(self, name: str, node: Node) -> Tensor:
        value = node.sample()
        hot, classes = node.to_hot(value), node.classes()
        largest = classes.logits.amax(-1, keepdim=True)
        below = -(classes.logits + self.gap - largest).relu()
        shift = torch.where(hot > 0.5, largest - classes.logits, below).detach()
        return value + silent(node.from_hot(classes.relax(shift, self.tau(node))))
