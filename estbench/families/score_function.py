"""Score function: weights the score of joint samples by their excess over a baseline."""

import abc
import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from estbench.core.estimator import Estimator, silent
from estbench.core.networks import RunningDeviation
from estbench.core.node import Node
from estbench.core.program import Program, draw, repeat


class ScoreFunction(Estimator):
    """Weights the score of joint samples by how much their cost exceeds a baseline.

    Where the cost contains log q with a slope that varies, the cost that weights a node's score, and that its baseline
    is given, has this slope added to it.

    A baseline with parameters is fitted to the costs by least squares as part of the same backward pass.

    Args:
        samples: joint samples per gradient.
        normalise: whether to divide what exceeds the baseline by its running standard deviation where that is
            above 1, as in Mnih & Gregor (2014). It rescales the gradient, which is then unbiased only up to
            that scale: the one of earlier steps, common to all nodes.
    """

    differentiates = False

    def __init__(self, samples: int = 1, *, normalise: bool = False) -> None:
        super().__init__()
        if samples < 1:
            raise ValueError(f"{type(self).__name__} needs at least 1 sample; got {samples}")
        self.samples = samples
        self.deviation = RunningDeviation() if normalise else None
        if normalise:
            self.unbiased = False

    @abc.abstractmethod
    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        """Hook: what to subtract from the cost, ``(samples, *batch)``; no sample may see its own cost."""

    def observe(self, cost: Tensor) -> None:
        """Hook: updates running statistics; called in training, after the gradient is made."""

    def evaluations(self, nodes: Sequence[Node]) -> int:  # noqa: ARG002
        """One per sample."""
        return self.samples

    def forward(self, program: Program) -> Tensor:
        """The scalar for a program."""
        evaluation = self.evaluate(program, repeat(draw, self.samples), scores=True)
        constant, slopes = evaluation.cost.detach(), evaluation.slopes()
        weighted, squares = [], []
        for name, site in evaluation.sites.items():
            own = constant + slopes[name] if name in slopes else constant
            residual = own - self.baseline(name, site.node, own)
            if self.training and (self.deviation is not None or residual.requires_grad):
                squares.append(residual.square().mean())
            excess = residual.detach() if self.deviation is None else self.deviation(residual.detach())
            weighted.append(excess * evaluation.log_prob(name))
        total = (evaluation.cost + silent(functools.reduce(torch.add, weighted))).mean()
        if squares:
            total = total + silent(functools.reduce(torch.add, squares))
        if self.training:
            self.observe(constant)
            if self.deviation is not None:
                self.deviation.update(torch.stack(squares).detach().mean())
        return total
