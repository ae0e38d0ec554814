"""The coupled family: evaluates the cost at several coupled values of each node."""

import abc
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from estbench.core.estimator import Estimator, full_cost, inject
from estbench.core.node import Bernoulli, Node
from estbench.core.program import Program, Sites, plate


class Coupled(Estimator):
    """Evaluates the cost at several coupled values of each node, each of them an exact sample.

    Gradients are linear in the costs. If the cost contains log q with a slope that varies, ``gradient`` receives the
    cost plus this slope.

    Attributes:
        coupled: how many values are coupled, if that is the same for every node.
    """

    differentiates = False
    coupled: int

    @abc.abstractmethod
    def couple(self, node: Node) -> Tensor:
        """Hook: coupled noise, ``(coupled, *logits.shape)``, each slice distributed as ``node.noise()``."""

    @abc.abstractmethod
    def gradient(self, node: Node, noise: Tensor, cost: Tensor) -> Tensor:
        """Hook: the gradient for the logits, ``(*batch, *event)``, from costs ``(coupled, *batch)``."""

    def values(self, node: Node) -> int:  # noqa: ARG002
        """Hook: how many values of this node are coupled."""
        return self.coupled

    def evaluations(self, nodes: Sequence[Node]) -> int:
        """Every combination of the nodes' coupled values."""
        return math.prod(self.values(node) for node in nodes)

    def forward(self, program: Program) -> Tensor:
        """The scalar for a program."""
        noises: dict[str, Tensor] = {}

        def coupled(name: str, node: Node, _sites: Sites) -> Tensor:
            noises[name] = self.couple(node)
            return node.discretise(noises[name])

        evaluation = self.evaluate(program, plate(coupled))
        sites, slopes = evaluation.sites, evaluation.slopes()
        total = evaluation.cost.mean()
        constant = full_cost(evaluation.cost.detach(), sites)
        for later, (name, (node, _)) in zip(reversed(range(len(sites))), sites.items(), strict=True):
            with torch.no_grad():
                own = constant.mean(tuple(range(later))) if later else constant
                own = own + slopes[name] if name in slopes else own
                gradient = self.gradient(node, noises[name], own)
            total = total + inject(node, gradient)
        return total


class Antithetic(Coupled):
    """Couples each value with the value of the negated noise; for Bernoulli nodes."""

    accepts = (Bernoulli,)
    coupled = 2

    def couple(self, node: Node) -> Tensor:
        """Noise and its negative."""
        noise = node.noise()
        return torch.stack([noise, -noise])


class Several(Coupled):
    """Couples as many values of each node as it is told.

    Args:
        samples: coupled values per node, at least 2.
    """

    def __init__(self, samples: int = 3) -> None:
        super().__init__()
        if samples < 2:
            raise ValueError(f"{type(self).__name__} couples samples, so it needs at least 2; got {samples}")
        self.coupled = samples
