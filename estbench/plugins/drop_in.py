"""Estimators for use in any model without a program: a differentiable sample, or the loss of an expectation."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from estbench.core.estimator import Estimator, NotApplicableError
from estbench.core.node import Bernoulli, Categorical, Node
from estbench.core.program import Sample
from estbench.families.pathwise import Pathwise
from estbench.plugins.registry import load_estimator

_NAME = "z"


def rsample(
    logits: Tensor | Node, estimator: str | Pathwise = "gumbel_softmax", *, event_dim: int = 1, **options: Any
) -> Tensor:
    r"""A differentiable sample; it can replace ``torch.nn.functional.gumbel_softmax``.

    The kind of sample depends on the estimator. A relaxed sample of Gumbel-Softmax is

    .. math:: \mathrm{softmax}((\ell + \varepsilon) / \tau), \qquad \varepsilon_i \sim \mathrm{Gumbel}(0, 1),

    and a straight-through sample has the value of an exact sample and the derivative of a relaxed one.

    Args:
        logits: ``(*batch, classes)`` for one-hot samples of categorical variables, or of any shape for bits; or a node,
            whose samples have the shape of its logits.
        estimator: the name of a pathwise estimator, such as ``"gumbel_softmax"``, ``"st_gumbel_softmax"``,
            ``"straight_through"`` or ``"reinmax"``; or one of your own. Its schedules do not advance here.
        event_dim: 1 if the last dimension of the logits holds classes, 0 if each logit is that of a bit. Without
            effect on a node.
        options: options of the estimator, such as ``temperature=0.5``.

    Returns:
        The sample, in the shape and the dtype of the logits, or of the node's samples. In half precision it is drawn
        and differentiated in float32, and rounded then.

    Raises:
        UserError: there is no such estimator, or an option is unknown or has an invalid value.
        TypeError: the estimator has no differentiable samples, or the logits are no tensor of floating-point numbers.
        NotApplicableError: the estimator does not take such variables.
        ValueError: ``event_dim`` is neither 0 nor 1.

    Example:
        >>> import torch
        >>> logits = torch.zeros(5, 3, requires_grad=True)
        >>> sample = rsample(logits, "reinmax", temperature=1.5)
        >>> sample.sum(-1).tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0]
        >>> sample[:, 0].sum().backward()
        >>> logits.grad.shape
        torch.Size([5, 3])
    """
    made = _made(estimator, options)
    if not isinstance(made, Pathwise):
        raise TypeError(
            f"rsample takes a pathwise estimator, which has differentiable samples; {type(made).__name__} has none: "
            "its surrogate loss is estbench.expectation(node, f)"
        )
    node = logits if isinstance(logits, Node) else _node(logits, event_dim)
    _refuse_other(node, made)
    sample = made.sample(_NAME, node).to(node.dtype)
    return sample if isinstance(logits, Node) else sample.reshape(logits.shape)


def expectation(
    node: Node, cost: Callable[[Tensor], Tensor], estimator: str | Estimator = "rloo", **options: Any
) -> Tensor:
    r"""A surrogate loss whose value estimates an expectation and whose gradient estimates the expectation's gradient.

    .. math:: \mathbb E_{q(z)} f(z), \qquad \nabla \, \mathbb E_{q(z)} f(z)

    The gradient is that for the parameters of the node's logits and of the cost, averaged over the batch.

    Args:
        node: the variables, with logits ``(*batch, *event)``.
        cost: :math:`f`, maps samples ``(*samples, *batch, *event)`` to costs ``(*samples, *batch)``.
        estimator: its name, such as ``"rloo"``, ``"disarm"`` or ``"local_expectation"``; or an instance. An estimator
            that learns (NVIL, RELAX, a moving average) must be made once and prepared, and its parameters given to the
            optimiser.
        options: options of the estimator, such as ``samples=4``.

    Returns:
        A scalar; ``loss.backward()`` gives the gradients.

    Raises:
        UserError: there is no such estimator, or an option is unknown or has an invalid value.
        NotApplicableError: the estimator does not take such a node.
        TypeError: ``node`` is no node.
        ValueError: the cost has another shape, or the estimator learns and was given by its name.

    Example:
        >>> import torch
        >>> logits = torch.zeros(10, 3, requires_grad=True)
        >>> loss = expectation(Bernoulli(logits), lambda z: z.sum(-1), "local_expectation")
        >>> loss.backward()
        >>> [round(slope, 3) for slope in (10 * logits.grad[0]).tolist()]  # p (1 - p)
        [0.25, 0.25, 0.25]
    """
    made = _made(estimator, options)
    if not isinstance(node, Node):
        raise TypeError(f"expectation takes a node, such as Bernoulli(logits); got {type(node).__name__}")
    _refuse_other(node, made)
    if isinstance(estimator, str) and _learns(made):
        raise ValueError(
            f"{estimator} learns from step to step: make it once with load_estimator({estimator!r}).prepare(program), "
            "give its parameters to the optimiser, and pass it here"
        )

    def program(sample: Sample) -> Tensor:
        return cost(sample(_NAME, node)[0])

    return made(program)


def _refuse_other(node: Node, estimator: Estimator) -> None:
    """Refuses a node of a kind that the estimator does not take."""
    if not isinstance(node, estimator.accepts):
        takes = " or ".join(kind.__name__ for kind in estimator.accepts)
        raise NotApplicableError(f"{type(estimator).__name__} takes {takes} nodes; got {type(node).__name__}")


def _learns(estimator: Estimator) -> bool:
    """Whether an estimator has parameters, networks or running averages; a temperature's schedule does not count."""
    own = [*estimator.parameters(), *(() if isinstance(estimator, Pathwise) else estimator.buffers())]
    return bool(own) or type(estimator).build is not Estimator.build


def _made(estimator: str | Estimator, options: Mapping[str, Any]) -> Estimator:
    """The estimator with a name; an instance is returned unchanged."""
    if isinstance(estimator, str):
        return _by_name(estimator, tuple(sorted(options.items())))
    if options:
        raise ValueError(f"options are of an estimator that is given by its name; got {', '.join(options)}")
    return estimator


# torch.compile cannot trace the search for plugins, and does not need to
@torch.compiler.disable  # type: ignore[untyped-decorator]
def _by_name(name: str, options: tuple[tuple[str, Any], ...]) -> Estimator:
    """The shared instance of an estimator with these options: it does not learn, and its schedule does not advance."""
    return _cached(name, options)


@functools.lru_cache(maxsize=64)
def _cached(name: str, options: tuple[tuple[str, Any], ...]) -> Estimator:
    # finding a plugin takes milliseconds, too long for a call in every training step
    return load_estimator(name, **dict(options)).eval()


def _node(logits: Tensor, event_dim: int) -> Node:
    """Variables that are independent, one for each bit or each vector of classes."""
    if event_dim not in (0, 1):
        raise ValueError(f"event_dim is 1 where the last dimension are classes, or 0 for bits; got {event_dim!r}")
    if not isinstance(logits, Tensor):
        raise TypeError(f"rsample takes logits as a tensor, or a node; got {type(logits).__name__}")
    if logits.ndim < event_dim:
        raise ValueError(f"rsample takes logits of shape (*batch, classes); got {tuple(logits.shape)}")
    if event_dim == 0:
        return Bernoulli(logits if logits.ndim else logits[None])
    return Categorical(logits if logits.ndim > 1 else logits[None])
