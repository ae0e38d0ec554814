r"""Slopes: how the cost of a program changes with the log-probabilities of its samples.

The gradient of an expected cost that contains :math:`\log q` is

.. math:: \nabla \, \mathbb E_q f(b, \log q(b)) =
    \mathbb E_q \Big[ \Big( f + \frac{\partial f}{\partial \log q} \Big) \nabla \log q(b) + \nabla f \Big]

A slope :math:`\partial f / \partial \log q` that is the same for all samples, such as the 1 of an ELBO, contributes
only noise, since the score has mean zero. A slope that may differ from sample to sample contributes to the gradient.

Whether a slope may differ is read from the autograd graph between the cost and the log-probability, never from the
slope's values: a choice by values would depend on the samples, and would bias the gradient.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

from estbench.core.transforms import transformed

GraphNode: TypeAlias = torch.autograd.graph.Node

# operations whose derivative depends on no value, by the name of the backward function without its number
_LINEAR = frozenset(
    f"{name}Backward"
    for name in (
        *("Add", "Sub", "Rsub", "Neg", "Sum", "Mean", "Clone", "Alias", "ToCopy", "Expand", "View", "UnsafeView"),
        *("ReshapeAlias", "Unsqueeze", "Squeeze", "Permute", "Transpose", "T", "Select", "Slice", "Stack", "Cat"),
        *("Unbind", "Split"),
    )
)
# the factor in the derivative of a product or quotient with respect to each of its arguments
_FACTORS = {
    ("MulBackward0", 0): "_saved_other",
    ("MulBackward0", 1): "_saved_self",
    ("DivBackward0", 0): "_saved_other",
}


class _Apart(torch.autograd.Function):
    """A copy of a tensor with respect to which one can differentiate, and which passes no derivative on."""

    @staticmethod
    def forward(values: Tensor, tracked: Tensor) -> Tensor:  # noqa: ARG004  (makes the result one that has derivatives)
        return values.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Saves nothing for the backward pass."""

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
    """A constant log-probability as a tensor with respect to which one can differentiate.

    Args:
        log_prob: the constant.
        like: a tensor that requires gradients.
    """
    # under torch.func there are no leaf tensors
    return _copied(log_prob, like) if transformed() else log_prob.requires_grad_()


def varying_slopes(cost: Tensor, log_probs: Mapping[str, Tensor], batch_ndim: int) -> dict[str, Tensor]:
    """The derivatives of a cost with respect to log-probabilities that may differ from sample to sample.

    Args:
        cost: ``(*samples, *batch)``.
        log_probs: the log-probabilities by name, each of which requires gradients.
        batch_ndim: the number of dimensions of the batch.

    Returns:
        The derivatives by name, in the shape of the log-probability, averaged over dimensions that only the cost has.
    """
    if not (log_probs and cost.requires_grad):
        return {}
    ones = torch.ones_like(cost)
    names, roots = list(log_probs), list(log_probs.values())
    slopes = torch.autograd.grad(cost, roots, ones, retain_graph=True, allow_unused=True)
    found = {}
    for name, root, slope in zip(names, roots, slopes, strict=True):
        # if there are only additions, the gradient is the tensor of ones itself: the usual case, and the fastest to
        # check
        if slope is not None and slope is not ones and not _constant(cost, root, batch_ndim):
            found[name] = slope.detach() * (root.numel() / cost.numel())
    return found


def _constant(cost: Tensor, log_prob: Tensor, batch_ndim: int) -> bool:
    """Whether the cost is linear in a log-probability, with factors that are the same for all samples."""
    start, end = (torch.autograd.graph.get_gradient_edge(each).node for each in (cost, log_prob))
    # whether a node of the graph depends on the log-probability
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
    """The largest number of dimensions that a factor can have without sample dimensions."""
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
