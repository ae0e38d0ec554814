"""Estimators: modules that map a program to a scalar whose gradient estimates that of the expected cost.

Each abstract family implements ``forward``; a plugin implements the hooks of a family and overrides nothing else.
"""

import abc
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn

from estbench.core.logits import at_least_float32
from estbench.core.making import Recorded
from estbench.core.node import Bernoulli, Categorical, Node
from estbench.core.program import Evaluation, Program, Sampler, Site, Sites, draw, evaluate, run
from estbench.core.refusal import NotApplicableError

__all__ = ["Estimator", "NotApplicableError", "full_cost", "inject", "positive", "silent"]

Number = TypeVar("Number", int, float)


class Estimator(Recorded, nn.Module, abc.ABC):
    """Maps a program to a scalar.

    The scalar's value estimates the expected cost, averaged over the batch, and its gradient estimates the gradient of
    the expected cost. A training step is therefore ``estimator(model(x)).backward()``.

    The class attributes are declarations that the conformance tests check.

    Attributes:
        accepts: the types of nodes that it can be applied to.
        unbiased: whether the expectation of its gradient is the gradient of its objective (see ``bound``). If an option
            makes the estimator biased, the constructor sets this attribute on the instance.
        differentiates: whether it uses the derivative of the cost with respect to samples.
        exact_samples: whether its value is the cost at exact samples, so that it estimates its objective without bias.
            It is not for relaxed samples, for samples from a distribution other than the node's, and for perturbed
            logits. If an option decides it, the constructor sets this attribute on the instance.
        couples_examples: whether an example's gradient depends on the samples of other examples of the batch, by shared
            noise or a baseline computed from the batch.
        mappable: whether it promises to run under ``torch.func.vmap``; where one cannot, a slower loop measures it.
        paper: the publication it comes from; empty if there is none.
    """

    accepts: ClassVar[tuple[type[Node], ...]] = (Bernoulli, Categorical)
    unbiased: bool
    differentiates: bool
    exact_samples: bool = True
    couples_examples: bool = False
    mappable: bool = True
    paper: ClassVar[str] = ""

    @property
    def bound(self) -> int:
        """The objective: 1 stands for the expected cost (ELBO), m for the m-sample bound ``-E log mean exp(-cost)``."""
        return 1

    @classmethod
    def code(cls, options: Mapping[str, Any]) -> Sequence[str]:  # noqa: ARG003
        """Hook: modules or files whose code an instance with these options runs, beside what its module imports."""
        return ()

    def prepare(self, program: Program) -> Self:
        """Makes the networks and statistics that the estimator keeps for each node; call it before making an optimiser.

        Raises:
            NotApplicableError: the estimator cannot be applied to a node of this program.
            ValueError: logits are NaN or infinite, or all classes of a variable are masked.
        """
        with torch.no_grad():
            _, sites = self.interpret(program, draw)
        for name, site in sites.items():
            site.node.refuse_unusable(name)
            self.build(name, site.node)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # an estimator's running statistics and networks stay in float32 when a model is converted to half precision
        def kept(values: Tensor) -> Tensor:
            moved = fn(values)
            return at_least_float32(moved) if moved.is_floating_point() else moved

        return super()._apply(kept, recurse)  # type: ignore[no-untyped-call]  # torch's own

    def build(self, name: str, node: Node) -> None:
        """Hook: makes the estimator's networks or statistics for this node."""

    @abc.abstractmethod
    def forward(self, program: Program) -> Tensor:
        """The scalar whose gradient estimates the gradient of the program's expected cost."""

    @abc.abstractmethod
    def evaluations(self, nodes: Sequence[Node]) -> int:
        """How often one call of ``forward`` evaluates the cost of each example."""

    def interpret(
        self, program: Program, sampler: Sampler, *, keep_score: bool = False
    ) -> tuple[Tensor, dict[str, Site]]:
        """Runs a program like ``run``, and raises ``NotApplicableError`` for a node that is not among ``accepts``."""
        return run(program, self._admitting(sampler), keep_score=keep_score)

    def evaluate(self, program: Program, sampler: Sampler, *, scores: bool = False) -> Evaluation:
        """Like ``interpret``, at exact samples, for estimators that multiply the score by its weight themselves."""
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
    """A term with the value zero and the gradient of ``term``."""
    return term - term.detach()


def inject(node: Node, gradient: Tensor) -> Tensor:
    """A scalar of value zero whose gradient for the logits is ``gradient``, averaged over samples and batch.

    Args:
        node: the node with the logits.
        gradient: ``(*samples, *batch, *event)``.
    """
    gradient, count = gradient.detach(), math.prod(node.logits.shape[: node.batch_ndim])
    extra = gradient.ndim - node.logits.ndim
    if extra > 0:
        # a mean would need another pass over the gradient for the division
        count *= math.prod(gradient.shape[:extra])
        gradient = gradient.sum(tuple(range(extra)))
    return silent((gradient * node.logits).sum() / count)


def mean_of_others(values: Tensor) -> Tensor:
    """For each sample the mean over the other samples, which the leave-one-out baseline is.

    Args:
        values: ``(samples, ...)``, at least two samples.
    """
    return (values.sum(0) - values) / (len(values) - 1)


def positive(name: str, value: Number) -> Number:
    """Returns the value of an option that must be above 0.

    Raises:
        ValueError: the value is not above 0.
    """
    if not value > 0:
        raise ValueError(f"{name} must be above 0; got {value}")
    return value


def full_cost(cost: Tensor, sites: Sites) -> Tensor:
    """The cost expanded to the dimensions of all plates, including samples that it does not depend on."""
    shapes = {site.shape for site in sites.values()}
    return cost if shapes == {cost.shape} else cost.expand(torch.broadcast_shapes(*shapes))
