"""The bridge for functions from a cost and logits to a loss."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Self

import torch
from torch import Tensor

from estbench.bridges.outside import Outside, refuse_constant, refuse_misshapen
from estbench.core.estimator import Estimator, NotApplicableError, silent
from estbench.core.node import Node
from estbench.core.program import Program, Sampler, Sites, evaluate, run


class SurrogateFunction(Estimator):
    """An estimator from a function that returns a loss; ``surrogate`` makes it.

    Args:
        outside: the function with its options.
        detached: whether it sees the costs as numbers.
        unbiased: whether its gradient is declared to be unbiased.
        differentiates: whether it uses the derivative of the cost with respect to samples.
        couples_examples: whether it lets the gradient of an example depend on the samples of others.
    """

    unbiased = True
    differentiates = False
    mappable = False

    def __init__(
        self,
        outside: Outside,
        *,
        detached: bool = False,
        unbiased: bool = True,
        differentiates: bool = False,
        couples_examples: bool = False,
    ) -> None:
        super().__init__()
        self.outside, self.detached, self.unbiased = outside, detached, unbiased
        self.differentiates, self.couples_examples = differentiates, couples_examples
        self._evaluations = 1
        self._exact: list[bool] = []
        outside.refuse_options(2)
        outside.trial(self._tried)
        self.exact_samples = any(self._exact)

    def _tried(self, logits: Tensor) -> None:
        """Calls the function on a few logits, and finds out which of its samples are exact."""

        def cost(sample: Tensor) -> Tensor:
            self._exact.append(bool(((sample == 0) | (sample == 1)).all()))
            flat = sample.to(logits.dtype).flatten(-1 - self.outside.event_dim)
            return (flat * torch.arange(flat.shape[-1], dtype=flat.dtype)).sum(-1)

        refuse_constant(self.outside.name, self._loss(cost, logits))

    def evaluations(self, nodes: Sequence[Node]) -> int:  # noqa: ARG002
        """As many as there were when it was prepared."""
        return self._evaluations

    def prepare(self, program: Program) -> Self:
        """Counts the evaluations of the cost.

        Raises:
            NotApplicableError: the program has several nodes.
        """
        super().prepare(program)
        rows: list[int] = []
        name, node = first(program)
        with torch.no_grad():
            run(program, _only(name, node.sample()))

        def counted(sample: Any) -> Tensor:
            cost = program(sample)
            rows.append(cost.numel())
            return cost

        self._estimated(counted, name, node)
        self._evaluations = max(1, sum(rows) // max(1, node.logits.shape[: node.batch_ndim].numel()))
        return self

    def forward(self, program: Program) -> Tensor:
        """The function's loss for the program's cost."""
        name, node = first(program)
        if not isinstance(node, self.accepts):
            raise NotApplicableError(f"{self.outside.name} takes bits or classes; got {type(node).__name__}")
        return self._estimated(program, name, node)

    def _estimated(self, program: Program, name: str, node: Node) -> Tensor:
        costs = _Costs(program, name, lambda sample: self.outside.value(node, sample), self._exact, self.detached)
        loss = self._loss(costs, self.outside.logits(node))
        if self.detached:
            return costs.mean + silent(loss)
        # what a loss is worth says nothing: a score's weight is no cost
        return costs.mean.detach() + silent(loss) if self.exact_samples else loss

    def _loss(self, cost: Callable[[Tensor], Tensor], logits: Tensor) -> Tensor:
        with self.outside.told(logits):
            loss = self.outside(cost, logits)
        refuse_misshapen(self.outside.name, loss, torch.Size(), "a scalar to call backward on")
        return loss


class _Costs:
    """The cost of a program as a function of the sample of its only node.

    Args:
        program: the program.
        name: of the node.
        value: a sample of the function as a value of the node.
        exact: which of its calls are with exact samples.
        detached: whether the cost's derivative with respect to anything but the sample is kept apart.
    """

    def __init__(
        self, program: Program, name: str, value: Callable[[Tensor], Tensor], exact: Sequence[bool], detached: bool
    ) -> None:
        self._program, self._name, self._value = program, name, value
        self._exact, self._detached = iter(exact), detached
        self._own: list[Tensor] = []

    def __call__(self, sample: Tensor) -> Tensor:
        """Costs ``(*samples, *batch)`` of samples ``(*samples, *batch, *event)``."""
        exact = next(self._exact, False)
        if self._detached:
            return self._numbers(sample, exact)
        cost = run(self._program, _only(self._name, self._value(sample)), keep_score=True)[0]
        if exact:
            self._own.append(cost.mean())
        return cost

    def _numbers(self, sample: Tensor, exact: bool) -> Tensor:
        """Costs with a derivative with respect to the sample only, if it has one."""
        leaf = sample.detach().requires_grad_(sample.requires_grad)
        with torch.enable_grad():
            evaluation = evaluate(self._program, _only(self._name, self._value(leaf)))
        if exact:
            own = evaluation
            if leaf.requires_grad:
                own = evaluate(self._program, _only(self._name, self._value(sample.detach())))
            self._own.append(own.scored().mean())
        cost = evaluation.cost.detach()
        if leaf.requires_grad:
            (slope,) = torch.autograd.grad(evaluation.cost.sum(), leaf)
            along = (slope * (sample - sample.detach())).flatten(cost.ndim).sum(-1)
            cost = cost + along
        return cost

    @property
    def mean(self) -> Tensor:
        """The mean cost of the exact samples, with its derivative with respect to the program's own parameters.

        Raises:
            ValueError: the function asked for the cost of no exact sample.
        """
        if not self._own:
            raise ValueError("a detached surrogate must ask for the cost of exact samples, which are 0 and 1")
        return torch.stack(self._own).mean()


def _only(name: str, value: Tensor) -> Sampler:
    """A sampler that gives this value to the node of this name, and refuses other nodes."""

    def only(asked: str, node: Node, _sites: Sites) -> Tensor:
        if asked != name:
            raise NotApplicableError(
                f"a surrogate bridge takes programs of one node; this one samples {asked!r} as well"
            )
        return value.to(node.logits.dtype)

    return only


class _Found(Exception):  # noqa: N818  (no error: it ends a program that has said what is asked)
    """The first node of a program."""

    def __init__(self, name: str, node: Node) -> None:
        super().__init__(name)
        self.name, self.node = name, node


def first(program: Program) -> tuple[str, Node]:
    """The name and the node of a program's first sample.

    Raises:
        ValueError: the program samples nothing.
    """

    def found(name: str, node: Node) -> NoReturn:
        raise _Found(name, node)

    try:
        program(found)
    except _Found as end:
        return end.name, end.node
    raise ValueError("the program sampled nothing, so there is no gradient to estimate")


def surrogate(
    function: Callable[..., Any],
    *,
    event_dim: int = 1,
    detached: bool = False,
    unbiased: bool = True,
    differentiates: bool = False,
    couples_examples: bool = False,
    **options: Any,
) -> SurrogateFunction:
    """An estimator from any function from a cost and logits to a loss, for programs of one node.

    Args:
        function: called as ``function(cost, logits, **options)``; it returns a scalar to call ``backward`` on. Its
            value is not used: that of the estimate is the mean cost of the exact samples. ``cost`` maps samples
            ``(*samples, *batch, *event)`` to costs ``(*samples, *batch)``. Bits are given to the function as variables
            of two classes.
        event_dim: 1 if the function takes logits ``(*batch, variables, classes)``; 0 if each logit is that of a bit,
            ``(*batch, variables)``.
        detached: whether the function sees the costs as numbers, which have a derivative with respect to samples at
            most, and its loss has to do with the logits only. The bridge then adds the cost's own derivative.
        unbiased: whether the gradient is declared to be unbiased; the checks hold it to that.
        differentiates: whether it uses the derivative of the cost with respect to samples.
        couples_examples: whether the gradient of an example may depend on the samples of others.
        options: options of the function; one with a name of the above can be bound by ``functools.partial``.

    Raises:
        TypeError: it is no function.
        ValueError: it has no such option, fails, or returns no scalar with a derivative.

    Example:
        >>> from torch.distributions import OneHotCategorical
        >>> def reinforce(cost, logits):
        ...     q = OneHotCategorical(logits=logits)
        ...     sample = q.sample()
        ...     found = cost(sample)
        ...     return (q.log_prob(sample).sum(-1) * found.detach() + found).mean()
        >>> surrogate(reinforce).unbiased
        True
    """
    declared = {"unbiased": unbiased, "differentiates": differentiates, "couples_examples": couples_examples}
    return SurrogateFunction(Outside(function, event_dim, options), detached=detached, **declared)
