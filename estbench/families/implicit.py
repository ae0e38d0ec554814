"""The implicit family: how the most probable value under noise moves when the logits move against the cost's slope."""

import abc
from typing import Any

import torch
from torch import Tensor

from estbench.core.estimator import positive
from estbench.core.node import Node
from estbench.families.pathwise import Pathwise


class Implicit(Pathwise):
    r"""Implicit maximum-likelihood estimation with perturb-and-MAP.

    .. math:: b = \mathrm{MAP}(\ell + \varepsilon), \qquad
        g = \tfrac1\lambda \big[b - \mathrm{MAP}(\ell - \lambda f'(b) + \varepsilon)\big]

    The derivative is that of each example's cost, whatever the batch.

    Args:
        strength: :math:`\lambda`, how far the logits move.
    """

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        self.strength = positive("strength", strength)

    @abc.abstractmethod
    def noise(self, node: Node) -> Tensor:
        """Hook: the perturbation, in the shape of the logits."""

    @abc.abstractmethod
    def solve(self, node: Node, noise: Tensor) -> Tensor:
        """Hook: the most probable value at the node's logits plus this noise."""

    def sample(self, name: str, node: Node) -> Tensor:  # noqa: ARG002
        """The value, with the derivative of the family."""
        # an ensemble of training runs makes the strength a tensor, which the backward pass must see as an input
        # a number that is copied to a GPU would make the host wait; one that multiplies does not
        strength = node.logits.new_ones(()) * self.strength
        return _Moved.apply(node.logits, self.noise(node), strength, node, self)  # type: ignore[no-untyped-call]


class _Moved(torch.autograd.Function):
    """The most probable value at logits plus noise, with the derivative of the family."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, noise: Tensor, strength: Tensor, node: Node, owner: Implicit) -> Tensor:  # noqa: ARG004
        return owner.solve(node.at(logits), noise)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Node, Implicit], output: Tensor) -> None:
        logits, noise, strength, ctx.node, ctx.owner = inputs
        ctx.save_for_backward(logits, noise, strength, output)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None, None, None]:
        logits, noise, strength, output = ctx.saved_tensors
        # the cost was averaged over the batch
        step = strength * logits.shape[: logits.ndim - ctx.node.event_ndim].numel()
        moved = logits - step * slopes[0]
        if ctx.node.masks:
            # log q falls so steeply towards a masked class that it would be the target
            moved = torch.where(ctx.node.at(logits).free, moved, logits)
        return (output - ctx.owner.solve(ctx.node.at(moved), noise)) / step, None, None, None, None
