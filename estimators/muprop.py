r"""MuProp: REINFORCE with the first-order expansion of the cost about the mean as control variate.

.. math:: g = \big(f(b) - f(p) - f'(p)^\top (b - p)\big) \nabla \log q(b) + J(p) f'(p)

In the expansion, later nodes take their means.

With ``normalise`` the large bracket is centred by its running mean and divided by its running deviation if that is
above 1, both from earlier steps, as in Mnih & Gregor (2014). The second term is not divided, so a large deviation moves
the gradient towards that of the means.

With ``hidden`` the output of a network of the input is subtracted from the bracket too, as Gu et al. do with the
baseline of Mnih & Gregor (2014). Here the network is trained to minimise the squared gradient, and thus the variance.

Unbiased. Bernoulli, categorical, subset and normal. One evaluation and one per node; uses the derivative of the cost.

Reference: Gu, Levine, Sutskever & Mnih (2016), https://arxiv.org/abs/1511.05176
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from estbench.core.derivatives import derivative
from estbench.core.networks import PerNode, Standardiser, mlp
from estbench.core.node import Bernoulli, Categorical, Node, Normal, Subset
from estbench.families.control_variate import ControlVariate, WhatIf


class MuProp(ControlVariate):
    """The MuProp estimator.

    Args:
        normalise: whether to centre and scale the difference between the cost and its expansion.
        hidden: width of the hidden layer of a learned input-dependent baseline; 0 for none.
    """

    accepts = (Bernoulli, Categorical, Subset, Normal)
    unbiased = True
    differentiates = True
    paper = "Gu, Levine, Sutskever & Mnih (2016), https://arxiv.org/abs/1511.05176"

    def __init__(self, *, normalise: bool = False, hidden: int = 0) -> None:
        super().__init__()
        if hidden < 0:
            raise ValueError(f"hidden must be the width of a layer, or 0 for no baseline; got {hidden}")
        self.hidden = hidden
        self.baselines = PerNode()
        self.standardisers = PerNode() if normalise else None
        if normalise:
            self.unbiased = False

    def build(self, name: str, node: Node) -> None:
        if self.standardisers is not None:
            self.standardisers[name] = Standardiser().to(node.logits)
        if self.hidden:
            self.baselines[name] = mlp(node.context.shape[-1], (self.hidden,), node.logits)

    def evaluations(self, nodes: Sequence[Node]) -> int:
        return 1 + len(nodes)

    def stand_in(self, node: Node, noise: Tensor) -> Tensor:
        return node.mean

    def observe(self, notes: dict[str, Tensor]) -> None:
        for name, excess in notes.items():
            assert self.standardisers is not None
            standardiser = self.standardisers.of(name, self)
            assert isinstance(standardiser, Standardiser)
            standardiser.update(excess)

    def gradient(self, name: str, node: Node, noise: Tensor, cost: Tensor, what_if: WhatIf) -> Tensor:
        with torch.no_grad():
            slope, each = derivative(what_if, node.mean)
        value = node.discretise(noise)
        score = node.score(value)
        excess = cost - each - node.total(slope * (value - node.mean))
        if self.hidden:
            excess = excess - self.baselines.of(name, self)(node.context)
        if self.standardisers is not None:
            self.note(name, excess)
            excess = self.standardisers.of(name, self)(excess)
        return node.lift(excess) * score + node.mean_slope(slope)
