r"""Stochastic AD: the change of the cost when one bit flips, chosen in proportion to its rate of flipping.

.. math:: w_i = (1 - b_i) \, p_i, \qquad
    g = \Big(\sum_i w_i\Big) \big(f(b \oplus e_j) - f(b)\big) \, e_j, \qquad j \sim w / \textstyle\sum_i w_i

As the logit of a bit grows, a 0 turns into a 1 at rate :math:`p_i`. All flips of a node but one are pruned. Later nodes
share their noise, so that they change only where the flip changes them.

Unbiased. Bernoulli. One evaluation and one per node.

Reference: Arya, Schauer, Schäfer & Rackauckas (2022), https://arxiv.org/abs/2210.08572
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from estbench.core.node import Bernoulli, Node, one_hot
from estbench.core.noise import rand
from estbench.families.control_variate import ControlVariate, WhatIf


class StochasticAD(ControlVariate):
    """Stochastic derivatives with pruning."""

    accepts = (Bernoulli,)
    unbiased = True
    differentiates = False
    paper = "Arya, Schauer, Schäfer & Rackauckas (2022), https://arxiv.org/abs/2210.08572"

    def evaluations(self, nodes: Sequence[Node]) -> int:
        return 1 + len(nodes)

    def stand_in(self, node: Node, noise: Tensor) -> Tensor:
        return node.discretise(noise)

    def gradient(self, name: str, node: Node, noise: Tensor, cost: Tensor, what_if: WhatIf) -> Tensor:
        value = node.discretise(noise)
        cumulative = ((1 - value) * node.mean).cumsum(-1)
        total = cumulative[..., -1:]
        u = rand(total.shape, total)
        index = (u * total >= cumulative[..., :-1]).sum(-1)
        # if no bit can flip, none does, and the gradient is 0
        flip = one_hot(index, value.shape[-1], value.dtype) * (total > 0)
        change = what_if(torch.maximum(value, flip)) - cost
        return node.lift(change) * total * flip
