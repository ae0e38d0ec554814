"""The perturbed family: perturbs all logits at once and weights the cost by the perturbation."""

import abc
from collections.abc import Sequence

import torch
from torch import Tensor

from estbench.core.estimator import Estimator, inject
from estbench.core.node import Node
from estbench.core.program import Program, Sites, repeat


class Perturbed(Estimator):
    r"""Weights the cost at perturbed logits by a score of the perturbation; it does not differentiate the cost.

    .. math:: g = \tfrac1K \sum_k f(b(\ell + \delta_k)) \, w(\delta_k)

    Every node is perturbed in the same evaluation.

    Attributes:
        perturbations: number of perturbations per gradient.
    """

    differentiates = False
    perturbations: int

    @abc.abstractmethod
    def perturb(self, node: Node) -> tuple[Tensor, Tensor]:
        """Hook: the noise to discretise, and the weights of the cost, both in the shape of the logits.

        The leading dimension of these logits is that of the perturbations.
        """

    def evaluations(self, nodes: Sequence[Node]) -> int:  # noqa: ARG002
        """One per perturbation."""
        return self.perturbations

    def forward(self, program: Program) -> Tensor:
        """The scalar for a program."""
        weights: dict[str, Tensor] = {}

        def perturbed(name: str, node: Node, _sites: Sites) -> Tensor:
            with torch.no_grad():
                noise, weights[name] = self.perturb(node)
                return node.discretise(noise)

        evaluation = self.evaluate(program, repeat(perturbed, self.perturbations))
        constant, slopes = evaluation.cost.detach(), evaluation.slopes()
        total = evaluation.cost.mean()
        for name, (node, _) in evaluation.sites.items():
            own = constant + slopes[name] if name in slopes else constant
            total = total + inject(node, node.lift(own) * weights[name])
        return total


def mirrored(node: Node, direction: Tensor, size: float) -> tuple[Tensor, Tensor]:
    """Noise shared by both halves, shifted by plus and minus ``size * direction``, and the sign of the shift.

    Args:
        node: a node with logits for an even number of perturbations.
        direction: the direction of the shift, in the shape of one half.
        size: the size of the shift.
    """
    common = node.arranged(node.logits[: len(direction)]).noise()
    shift = size * direction
    sign = torch.ones_like(direction)
    return torch.cat([common + shift, common - shift]), torch.cat([sign, -sign])
