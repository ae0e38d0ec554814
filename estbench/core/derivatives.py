"""Derivatives inside estimators: by plain autograd in training, by ``torch.func`` under its transforms.

Replicates are made by ``vmap`` of ``grad``, where only ``torch.func`` can differentiate. A training step is under no
transform, and there autograd does the same at a third of the overhead.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.func import grad, grad_and_value

from estbench.core.networks import with_parameters
from estbench.core.transforms import transformed

T = TypeVar("T")


def derivative(function: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    """The derivative of the sum of a function's values, in the shape of ``at``, and the values ``(*batch,)``.

    Both can be differentiated with respect to what the function reads, parameters of the estimator for instance,
    where gradients are enabled; ``at`` counts as a constant.
    """
    if transformed():

        def total(at: Tensor) -> tuple[Tensor, Tensor]:
            each = function(at)
            return each.sum(), each

        slope, (_, each) = grad_and_value(total, has_aux=True)(at)
        return slope, each
    wanted = torch.is_grad_enabled()
    with torch.enable_grad():
        at = at.detach().requires_grad_()
        each = function(at)
        (slope,) = _slopes(each, [at], differentiable=wanted)
    return slope, each if wanted else each.detach()


def parameter_derivative(
    module: nn.Module, parameters: Mapping[str, Tensor], function: Callable[[], tuple[Tensor, T]]
) -> tuple[dict[str, Tensor], T]:
    """The derivative of a function's first result with respect to parameters of a module, and its second result.

    Args:
        module: what the function reads.
        parameters: by their names in the module.
        function: returns a scalar, and what else it found.
    """
    if transformed():
        with torch.no_grad():
            return grad(lambda own: with_parameters(module, own, function), has_aux=True)(dict(parameters))
    with torch.enable_grad():
        value, found = function()
    slopes = _slopes(value, [*parameters.values()], differentiable=False)
    return dict(zip(parameters, slopes, strict=True)), found


def _slopes(values: Tensor, inputs: Sequence[Tensor], *, differentiable: bool) -> Sequence[Tensor]:
    """Of the sum of the values; zeros where they depend on nothing."""
    if not values.requires_grad:
        return [torch.zeros_like(each) for each in inputs]
    ones = torch.ones_like(values)
    return torch.autograd.grad(
        values, inputs, ones, create_graph=differentiable, allow_unused=True, materialize_grads=True
    )
