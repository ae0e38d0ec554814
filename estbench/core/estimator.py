"""Estimators: modules that map a program to a scalar whose gradient estimates that of the expected cost.

Each abstract family owns ``forward``; a plugin fills in its hooks and overrides nothing.
"""

import abc
import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn

from estbench.core.logits import at_least_float32, refuse_unusable
from estbench.core.node import Bernoulli, Categorical, Node
from estbench.core.program import Evaluation, Program, Sampler, Site, Sites, draw, evaluate, run

Number = TypeVar("Number", int, float)


class NotApplicableError(ValueError):
    """An estimator cannot be used on this program, by its nature; the message says why."""


class Estimator(nn.Module, abc.ABC):
    """Maps a program to a scalar.

    Its value estimates the expected cost, averaged over the batch, and its gradient the gradient of that, so
    that a training step is ``estimator(model(x)).backward()``.

    Class attributes are a plugin's declarations; the conformance tests hold it to them.

    Attributes:
        accepts: types of nodes it takes.
        unbiased: whether the gradient's expectation is that of its objective (see ``bound``); an option that
            biases the estimator sets it on the instance.
        differentiates: whether it uses the derivative of the cost with respect to samples.
        couples_examples: whether an example's gradient depends on the samples of other examples of the batch, by shared
            noise or a baseline computed from the batch.
        paper: where it comes from; empty where nothing was published.
    """

    accepts: ClassVar[tuple[type[Node], ...]] = (Bernoulli, Categorical)
    unbiased: bool
    differentiates: ClassVar[bool]
    couples_examples: ClassVar[bool] = False
    paper: ClassVar[str] = ""

    @property
    def bound(self) -> int:
        """The objective: 1 is the expected cost (ELBO), m the m-sample bound ``-E log mean exp(-cost)``."""
        return 1

    def prepare(self, program: Program) -> Self:
        """Makes what the estimator keeps per node; to be called before making an optimiser.

        Raises:
            NotApplicableError: it cannot take a node of this program.
            ValueError: logits are NaN or infinite, or all classes of a variable are masked.
        """
        with torch.no_grad():
            _, sites = self.interpret(program, draw)
        for name, site in sites.items():
            refuse_unusable(name, site.node.logits)
            self.build(name, site.node)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # running statistics and networks of its own keep float32 where a model is turned to half precision
        def kept(values: Tensor) -> Tensor:
            moved = fn(values)
            return at_least_float32(moved) if moved.is_floating_point() else moved

        return super()._apply(kept, recurse)  # type: ignore[no-untyped-call]  # torch's own

    def build(self, name: str, node: Node) -> None:
        """Hook: makes a network for this node."""

    @abc.abstractmethod
    def forward(self, program: Program) -> Tensor:
        """The scalar for a program."""

    @abc.abstractmethod
    def evaluations(self, nodes: Sequence[Node]) -> int:
        """How often one call of ``forward`` evaluates the cost of each example."""

    def interpret(
        self, program: Program, sampler: Sampler, *, keep_score: bool = False
    ) -> tuple[Tensor, dict[str, Site]]:
        """Runs a program, refusing nodes that this estimator does not take."""
        return run(program, self._admitting(sampler), keep_score=keep_score)

    def evaluate(self, program: Program, sampler: Sampler, *, scores: bool = False) -> Evaluation:
        """The same at exact samples, for estimators that weight the score of log-probabilities themselves."""
        return evaluate(program, self._admitting(sampler), scores=scores)

    def _admitting(self, sampler: Sampler) -> Sampler:
        def admitted(name: str, node: Node, sites: Sites) -> Tensor:
            if not isinstance(node, self.accepts):
                takes = " or ".join(kind.__name__ for kind in self.accepts)
                raise NotApplicableError(
                    f"{type(self).__name__} takes {takes} nodes; {name!r} is {type(node).__name__}"
                )
            return sampler(name, node, sites)

        return admitted


def silent(term: Tensor) -> Tensor:
    """A term whose value is zero and whose gradient is kept."""
    return term - term.detach()


def inject(node: Node, gradient: Tensor) -> Tensor:
    """A scalar of value zero that gives the logits this gradient, ``(*samples, *batch, *event)``.

    Samples and batch are averaged over, as in the mean of the costs.
    """
    gradient, count = gradient.detach(), math.prod(node.logits.shape[: node.batch_ndim])
    extra = gradient.ndim - node.logits.ndim
    if extra > 0:
        # a mean would take another pass over the gradient, to divide it
        count *= math.prod(gradient.shape[:extra])
        gradient = gradient.sum(tuple(range(extra)))
    return silent((gradient * node.logits).sum() / count)


def positive(name: str, value: Number) -> Number:
    """The value of an option that must be above 0.

    Raises:
        ValueError: it is not.
    """
    if not value > 0:
        raise ValueError(f"{name} must be above 0; got {value}")
    return value


def full_cost(cost: Tensor, sites: Sites) -> Tensor:
    """A cost with every plate's dimension, also those of samples that it does not depend on."""
    shapes = {site.shape for site in sites.values()}
    return cost if shapes == {cost.shape} else cost.expand(torch.broadcast_shapes(*shapes))
