"""The oracle of the checks: objectives and their gradients by enumeration, independent of any estimator.

Normal variables are integrated by Gauss-Hermite quadrature, whose points take the place of values.
"""

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

from estbench.core.node import Node, Normal
from estbench.core.program import Program, Sites, plate, run
from estbench.testing.programs import Recipe

LIMIT = 2**20
# points of the quadrature for each normal variable: for expected costs, and for the many tuples of a bound
POINTS, POINTS_OF_BOUND = 32, 6


class TooManyValuesError(ValueError):
    """There are too many tuples of joint values to enumerate."""


def objective(program: Program, bound: int) -> Tensor:
    r"""The mean over the batch of :math:`-\mathbb E \log \tfrac1m \sum_k e^{-f(b_k)}`; the mean cost if m is 1.

    Raises:
        TooManyValuesError: there are more than ``LIMIT`` multisets of joint values.
    """
    weights: list[Tensor] = []

    def every(_name: str, node: Node, _sites: Sites) -> Tensor:
        values, log_weights = _grid(node, POINTS if bound == 1 else POINTS_OF_BOUND)
        weights.append(log_weights)
        return values

    cost, sites = run(program, plate(every), keep_score=True)
    log_q = sum(weights, torch.zeros_like(cost))
    log_q, cost = (x.flatten(0, len(sites) - 1) for x in torch.broadcast_tensors(log_q, cost))
    if bound == 1:
        return (log_q.exp() * cost).sum(0).mean()
    index, log_count = _multisets(cost.shape[0], bound)
    log_p = log_q[index].sum(1) + log_count.reshape(-1, *(1,) * (cost.ndim - 1))
    bounds = math.log(bound) - (-cost[index]).logsumexp(1)
    return (log_p.exp() * bounds).sum(0).mean()


def _grid(node: Node, points: int) -> tuple[Tensor, Tensor]:
    """All values and the logarithms of their probabilities; of normal variables a grid of points and their weights.

    The points move with the parameters, so that derivatives flow through them.
    """
    if not isinstance(node, Normal):
        values = node.enumerate_support()
        return values, node.log_prob(values)
    place, weight = (torch.from_numpy(x).to(node.logits) for x in np.polynomial.hermite_e.hermegauss(points))
    units = node.event_shape[0]
    grid = torch.cartesian_prod(*[place] * units).reshape(-1, *(1,) * node.batch_ndim, units)
    log_weight = (weight / math.sqrt(2 * math.pi)).log()
    total = torch.cartesian_prod(*[log_weight] * units).reshape(len(grid), units).sum(1)
    return node.reparametrised(grid), total.reshape(-1, *(1,) * node.batch_ndim).expand(-1, *node.loc.shape[:-1])


def _multisets(values: int, size: int) -> tuple[Tensor, Tensor]:
    """All multisets, ``(multisets, size)``, and the logarithm of the number of orders of each."""
    count = math.comb(values + size - 1, size)
    if count > LIMIT:
        raise TooManyValuesError(f"the {size}-sample bound of {values} joint values has {count:,} multisets")
    index = torch.combinations(torch.arange(values), size, with_replacement=True)
    repeats = torch.stack([(index[:, : k + 1] == index[:, k : k + 1]).sum(1) for k in range(size)], 1)
    return index, math.lgamma(size + 1) - repeats.double().log().sum(1)


@cache
def truth(recipe: Recipe, bound: int, batch: tuple[int, ...] = (2,)) -> tuple[float, dict[str, Tensor]]:
    """The objective of a net and its gradient by parameter, in double precision."""
    net = recipe.net(batch)
    value = objective(net(), bound)
    gradients = torch.autograd.grad(value, list(net.parameters()))
    return value.item(), dict(zip(dict(net.named_parameters()), gradients, strict=True))
