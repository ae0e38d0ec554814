r"""I-MLE: how the perturbed argmax moves when the logits move against the cost's derivative.

.. math:: b = \mathrm{onehot}(\arg\max(\ell + \varepsilon)), \qquad
    g = \tfrac1\lambda \big[b - \mathrm{onehot}(\arg\max(\ell - \lambda f'(b) + \varepsilon))\big]

with Gumbel noise for classes and logistic noise for bits, with which the samples are exact. The derivative is that of
the cost of each example, and does not depend on the size of the batch.

Biased; a larger :math:`\lambda` increases the bias, and a smaller one the variance. Bernoulli and categorical. One
evaluation; uses the derivative of the cost.

Reference: Niepert, Minervini & Franceschi (2021), https://arxiv.org/abs/2106.01798
"""

from typing import Any

import torch
from torch import Tensor

from estbench.core.estimator import positive
from estbench.core.node import Node
from estbench.families.pathwise import Pathwise


class IMLE(Pathwise):
    r"""Implicit maximum-likelihood estimation with perturb-and-MAP.

    Args:
        strength: the factor :math:`\lambda` of the derivative by which the logits are moved.
    """

    unbiased = False
    hard = True
    paper = "Niepert, Minervini & Franceschi (2021), https://arxiv.org/abs/2106.01798"

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        self.strength = positive("strength", strength)

    def sample(self, name: str, node: Node) -> Tensor:
        return _PerturbedArgmax.apply(node.logits, node.noise(), node, self.strength)  # type: ignore[no-untyped-call]


class _PerturbedArgmax(torch.autograd.Function):
    """The argmax of logits plus noise, with the derivative of I-MLE."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, noise: Tensor, node: Node, strength: float) -> Tensor:  # noqa: ARG004
        return node.at(logits).discretise(noise)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Node, float], output: Tensor) -> None:
        logits, noise, ctx.node, ctx.strength = inputs
        ctx.save_for_backward(logits, noise, output)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None, None]:
        logits, noise, output = ctx.saved_tensors
        # undoes the average of the cost over the batch
        batch = logits.shape[: logits.ndim - ctx.node.event_ndim].numel()
        moved = logits - ctx.strength * batch * slopes[0]
        if ctx.node.masks:
            # log q falls so steeply towards a masked class that this class would become the target
            moved = torch.where(ctx.node.at(logits).free, moved, logits)
        target = ctx.node.at(moved).discretise(noise)
        return (output - target) / (ctx.strength * batch), None, None, None
