r"""Slopes: how the cost of a program changes with the log-probabilities of its samples.

The gradient of an expected cost that contains :math:`\log q` is

.. math:: \nabla \, \mathbb E_q f(b, \log q(b)) =
    \mathbb E_q \Big[ \Big( f + \frac{\partial f}{\partial \log q} \Big) \nabla \log q(b) + \nabla f \Big]

A slope :math:`\partial f / \partial \log q` that no sample changes, as the 1 of an ELBO, only adds noise, for the
score has mean zero. Where it may differ from sample to sample, it counts.

Whether it may is read from the graph that leads from the cost to the log-probability, and never from the slope's
values: a choice by values would depend on the samples, and a choice that depends on the samples is a bias.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

from estbench.core.transforms import transformed

GraphNode: TypeAlias = torch.autograd.graph.Node

# operations whose derivative depends on no value, by the name of the backward pass without its number
_LINEAR = frozenset(
    f"{name}Backward"
    for name in (
        *("Add", "Sub", "Rsub", "Neg", "Sum", "Mean", "Clone", "Alias", "ToCopy", "Expand", "View", "UnsafeView"),
        *("ReshapeAlias", "Unsqueeze", "Squeeze", "Permute", "Transpose", "T", "Select", "Slice", "Stack", "Cat"),
        *("Unbind", "Split"),
    )
)
# what the derivative of a product or quotient with respect to one of its arguments is multiplied with
_FACTORS = {
    ("MulBackward0", 0): "_saved_other",
    ("MulBackward0", 1): "_saved_self",
    ("DivBackward0", 0): "_saved_other",
}


class _Apart(torch.autograd.Function):
    """A copy of a tensor that can be differentiated with respect to, and passes no derivative on."""

    @staticmethod
    def forward(values: Tensor, tracked: Tensor) -> Tensor:  # noqa: ARG004  (makes the result one that has derivatives)
        return values.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Keeps nothing."""

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[None, None]:  # noqa: ARG004
        return None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, int | None], values: Tensor, tracked: Tensor) -> tuple[Tensor, Any]:  # noqa: ARG004
        return _copied(values, tracked), in_dims[0]


def _copied(values: Tensor, tracked: Tensor) -> Tensor:
    copy: Tensor = _Apart.apply(values, tracked)  # type: ignore[no-untyped-call]
    return copy


def differentiable(log_prob: Tensor, like: Tensor) -> Tensor:
    """A log-probability that has no derivative as one to differentiate with respect to, and no further.

    Args:
        log_prob: a constant.
        like: a tensor that has a derivative.
    """
    # where torch.func differentiates there are no leaves
    return _copied(log_prob, like) if transformed() else log_prob.requires_grad_()


def varying_slopes(cost: Tensor, log_probs: Mapping[str, Tensor], batch_ndim: int) -> dict[str, Tensor]:
    """The derivatives of a cost with respect to log-probabilities, of those that may differ from sample to sample.

    Args:
        cost: ``(*samples, *batch)``.
        log_probs: by name, which the cost may depend on; each has a derivative.
        batch_ndim: the number of dimensions of the batch.

    Returns:
        By name, in the shape of the log-probability. Dimensions that only the cost has are averaged over.
    """
    if not (log_probs and cost.requires_grad):
        return {}
    ones = torch.ones_like(cost)
    names, roots = list(log_probs), list(log_probs.values())
    slopes = torch.autograd.grad(cost, roots, ones, retain_graph=True, allow_unused=True)
    found = {}
    for name, root, slope in zip(names, roots, slopes, strict=True):
        # additions alone hand the ones on as they are: the usual case, and the fastest to tell
        if slope is not None and slope is not ones and not _constant(cost, root, batch_ndim):
            found[name] = slope.detach() * (root.numel() / cost.numel())
    return found


def _constant(cost: Tensor, log_prob: Tensor, batch_ndim: int) -> bool:
    """Whether the cost is a linear function of a log-probability, with factors that no sample changes."""
    start, end = (torch.autograd.graph.get_gradient_edge(each).node for each in (cost, log_prob))
    # whether the log-probability is among what a node of the graph depends on
    reaches, stack = {end: True}, [start]
    factor_ndim = _factor_ndim(cost, batch_ndim)
    while stack:
        node = stack[-1]
        children = [child for child, _ in node.next_functions]
        waiting = [child for child in children if child is not None and child not in reaches]
        stack += waiting
        if waiting:
            continue
        stack.pop()
        ways = [index for index, child in enumerate(children) if child is not None and reaches[child]]
        if node is not end and not all(_linear(node, index, factor_ndim) for index in ways):
            return False
        reaches.setdefault(node, bool(ways))
    return True


def _factor_ndim(cost: Tensor, batch_ndim: int) -> int:
    """The most dimensions of a factor that no sample changes: what depends on samples has their dimensions."""
    if cost.ndim > batch_ndim:
        return batch_ndim
    return 0 if batch_ndim else -1


def _linear(node: GraphNode, index: int, factor_ndim: int) -> bool:
    """Whether the derivative of an operation with respect to one of its arguments is the same for all samples."""
    name = node.name()
    if name.rstrip("0123456789") in _LINEAR:
        return True
    if (name, index) not in _FACTORS:
        return False
    return bool(getattr(node, _FACTORS[name, index]).ndim <= factor_ndim)
