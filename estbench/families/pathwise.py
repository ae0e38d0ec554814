"""The pathwise family: differentiates the cost through differentiable stand-ins for the samples."""

import abc
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from estbench.core.estimator import Estimator, positive
from estbench.core.networks import Annealed
from estbench.core.node import Node
from estbench.core.program import Program, Sites


class Pathwise(Estimator):
    """Differentiates the cost through differentiable stand-ins for the samples.

    Attributes:
        hard: whether the values of the stand-ins are exact samples (as for straight-through estimators); it is also the
            declaration ``exact_samples``, unless a class makes that too.
    """

    differentiates = True
    hard: bool

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "hard" in vars(cls) and "exact_samples" not in vars(cls):
            cls.exact_samples = cls.hard

    @abc.abstractmethod
    def sample(self, name: str, node: Node) -> Tensor:
        """Hook: a differentiable stand-in for a sample of the node."""

    def observe(self) -> None:
        """Hook: counts a training step; called in training, after the cost is computed."""

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
    r"""Stand-ins with a temperature that is constant or decays during training.

    .. math:: \tau = \max(\mathrm{floor}, \, \mathrm{temperature} \cdot e^{-\mathrm{rate} \cdot t})

    Args:
        temperature: initial temperature of the relaxation.
        rate: rate of decay per training step; 0 keeps the temperature constant.
        floor: the smallest temperature.
        every: how many training steps pass between updates.
    """

    def __init__(self, temperature: float = 1.0, rate: float = 0.0, floor: float = 0.5, every: int = 1000) -> None:
        super().__init__()
        self.temperature = positive("temperature", temperature)
        self.schedule = Annealed(self.temperature, rate, floor, every)

    def observe(self) -> None:
        """Counts a training step."""
        self.schedule.advance()

    def tau(self, node: Node) -> Tensor:
        """The current temperature, a scalar on the device and in the dtype of the node's logits."""
        return self.schedule.value(node.logits)
