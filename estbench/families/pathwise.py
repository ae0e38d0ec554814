"""Pathwise: differentiates the cost through stand-ins for the samples."""

import abc
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from estbench.core.estimator import Estimator, positive
from estbench.core.networks import Annealed
from estbench.core.node import Node
from estbench.core.program import Program, Sites


class Pathwise(Estimator):
    """Differentiates the cost through stand-ins for the samples.

    Attributes:
        hard: whether the stand-ins are exact samples in value (as straight-through ones are).
    """

    differentiates = True
    hard: ClassVar[bool]

    @abc.abstractmethod
    def sample(self, name: str, node: Node) -> Tensor:
        """Hook: a differentiable stand-in for a draw from the node."""

    def observe(self) -> None:
        """Hook: counts a training step; called in training, after the cost is made."""

    def evaluations(self, nodes: Sequence[Node]) -> int:  # noqa: ARG002
        """One."""
        return 1

    def forward(self, program: Program) -> Tensor:
        """The scalar for a program."""

        def sampler(name: str, node: Node, _sites: Sites) -> Tensor:
            return self.sample(name, node)

        cost, _ = self.interpret(program, sampler, keep_score=not self.hard)
        if self.training:
            self.observe()
        return cost.mean()


class Tempered(Pathwise):
    r"""Stand-ins with a temperature that is constant, or falls as training goes on.

    .. math:: \tau = \max(\mathrm{floor}, \, \mathrm{temperature} \cdot e^{-\mathrm{rate} \cdot t})

    Args:
        temperature: of the relaxation, at the start.
        rate: at which it falls per training step; 0 keeps it constant.
        floor: below which it does not fall.
        every: how many training steps it stays the same between updates.
    """

    def __init__(self, temperature: float = 1.0, rate: float = 0.0, floor: float = 0.5, every: int = 1000) -> None:
        super().__init__()
        self.temperature = positive("temperature", temperature)
        self.schedule = Annealed(self.temperature, rate, floor, every)

    def observe(self) -> None:
        """Counts a training step."""
        self.schedule.advance()

    def tau(self, node: Node) -> Tensor:
        """The present temperature, as a scalar like the node's logits."""
        return self.schedule.value(node.logits)
