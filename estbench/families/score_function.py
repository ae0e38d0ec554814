"""The score-function family: weights the score of joint samples by the cost minus a baseline."""

import abc
import functools
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from estbench.core.estimator import Estimator, silent
from estbench.core.networks import RunningDeviation
from estbench.core.node import Bernoulli, Categorical, Node, Normal, Permutation, Subset
from estbench.core.program import Evaluation, Program, draw, lengths, mode, repeat

Fact: TypeAlias = Literal["greedy", "lengths"]


class ScoreFunction(Estimator):
    """Weights the score of joint samples by an advantage: in the simplest case, their cost minus a baseline.

    A subclass implements one of two hooks, ``baseline`` or ``advantage``.

    If the cost contains log q with a slope that varies, this slope is added to the cost that the hooks receive.

    A baseline with parameters is fitted to the costs by least squares as part of the same backward pass.

    Args:
        samples: joint samples per gradient.
        normalise: whether to divide the cost minus the baseline by its running standard deviation if that is above 1,
            as in Mnih & Gregor (2014). The gradient is then unbiased only up to this scale, which comes from earlier
            steps and is the same for all nodes.

    Attributes:
        facts: what ``advantage`` is told beside the costs, by keyword. ``greedy``: the cost at the most probable
            values, ``(*batch,)``, which takes one more evaluation. ``lengths``: the number of variables that each
            sample had a choice in, ``(samples, *batch)``: the tokens of a sequence whose later tokens are masked.
    """

    accepts: ClassVar[tuple[type[Node], ...]] = (Bernoulli, Categorical, Subset, Normal, Permutation)
    differentiates = False
    facts: ClassVar[tuple[Fact, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # a class with an advantage of its own needs no baseline, and is not abstract for the lack of one
        if "advantage" in vars(cls) and getattr(cls.baseline, "__isabstractmethod__", False):
            cls.baseline = _no_baseline  # type: ignore[method-assign]

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

    def advantage(self, name: str, node: Node, cost: Tensor, value: Tensor, **facts: Tensor) -> Tensor:  # noqa: ARG002
        """Hook: what weights the score of each sample, ``(samples, *batch)``; by default the cost minus the baseline.

        As costs are minimised, a sample that is better than the others has a negative advantage. Where a reward is
        maximised, the cost is minus the reward, and this advantage is minus that of the reward.

        Args:
            name: the node's name.
            node: the node; ``node.log_prob(value)`` and ``node.score(value)`` belong to the samples.
            cost: the costs of all samples of all examples, ``(samples, *batch)``.
            value: the samples of this node, ``(samples, *batch, *event)``.
            facts: what the class declares in ``facts``.
        """
        return cost - self.baseline(name, node, cost)

    def observe(self, cost: Tensor) -> None:
        """Hook: updates running statistics; called in training, after the gradient is computed."""

    def evaluations(self, nodes: Sequence[Node]) -> int:  # noqa: ARG002
        """One per sample, and one more if the hook is told the cost at the most probable values."""
        return self.samples + ("greedy" in self.facts)

    def forward(self, program: Program) -> Tensor:
        """The scalar for a program."""
        evaluation = self.evaluate(program, repeat(draw, self.samples), scores=True)
        constant, slopes = evaluation.cost.detach(), evaluation.slopes()
        weighted, squares, facts = [], [], self._known(program, evaluation)
        for name, (node, value) in evaluation.sites.items():
            own = constant + slopes[name] if name in slopes else constant
            residual = self.advantage(name, node, own, value, **facts)
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

    def _known(self, program: Program, evaluation: Evaluation) -> dict[str, Tensor]:
        """The facts that the class declares, by name."""
        found: dict[str, Tensor] = {}
        with torch.no_grad():
            if "greedy" in self.facts:
                found["greedy"] = self.interpret(program, mode)[0].detach()
            if "lengths" in self.facts:
                found["lengths"] = lengths(evaluation.sites).expand_as(evaluation.cost)
        return found


def _no_baseline(self: ScoreFunction, name: str, node: Node, cost: Tensor) -> Tensor:  # noqa: ARG001
    """No baseline."""
    return torch.zeros_like(cost)
