"""Derivatives inside estimators: by plain autograd in training, by ``torch.func`` under its transforms.

Replicates are computed by ``vmap`` of ``grad``, inside which only ``torch.func`` can differentiate. A training step
runs under no transform; there, autograd gives the same derivative with a third of the overhead.
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

    If gradients are enabled, both results can be differentiated with respect to tensors that the function uses, such
    as parameters of the estimator; ``at`` is a constant.
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
        module: the module that the function uses.
        parameters: the parameters to differentiate with respect to, by their names in the module.
        function: returns a scalar and any second result.
    """
    if transformed():
        with torch.no_grad():
            return grad(lambda own: with_parameters(module, own, function), has_aux=True)(dict(parameters))
    with torch.enable_grad():
        value, found = function()
    slopes = _slopes(value, [*parameters.values()], differentiable=False)
    return dict(zip(parameters, slopes, strict=True)), found


def _slopes(values: Tensor, inputs: Sequence[Tensor], *, differentiable: bool) -> Sequence[Tensor]:
    """The derivative of the sum of the values; zeros if they do not depend on the tensor."""
    if not values.requires_grad:
        return [torch.zeros_like(each) for each in inputs]
    ones = torch.ones_like(values)
    return torch.autograd.grad(
        values, inputs, ones, create_graph=differentiable, allow_unused=True, materialize_grads=True
    )
