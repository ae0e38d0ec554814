"""The score-function family: weights the score of joint samples by the cost minus a baseline."""

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
    """Weights the score of joint samples by their cost minus a baseline.

    If the cost contains log q with a slope that varies, this slope is added to the cost that weights a node's score and
    that the baseline receives.

    A baseline with parameters is fitted to the costs by least squares as part of the same backward pass.

    Args:
        samples: joint samples per gradient.
        normalise: whether to divide the cost minus the baseline by its running standard deviation if that is above 1,
            as in Mnih & Gregor (2014). The gradient is then unbiased only up to this scale, which comes from earlier
            steps and is the same for all nodes.
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
        """Hook: the baseline, ``(samples, *batch)``; that of a sample must not depend on the sample's own cost."""

    def observe(self, cost: Tensor) -> None:
        """Hook: updates running statistics; called in training, after the gradient is computed."""

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
