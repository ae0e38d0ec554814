"""The oracle of the checks: objectives and their gradients by enumeration, independent of any estimator."""

import math
from functools import cache

import torch
from torch import Tensor

from estbench.core.program import Program, plate, run
from estbench.testing.programs import Recipe

LIMIT = 2**20


class TooLargeError(ValueError):
    """There are too many tuples of joint values to enumerate."""


def objective(program: Program, bound: int) -> Tensor:
    r"""The mean over the batch of :math:`-\mathbb E \log \tfrac1m \sum_k e^{-f(b_k)}`; the mean cost if m is 1.

    Raises:
        TooLargeError: there are more than ``LIMIT`` multisets of joint values.
    """
    cost, sites = run(program, plate(lambda _name, node, _sites: node.enumerate_support()), keep_score=True)
    log_q = sum((node.log_prob(value) for node, value in sites.values()), torch.zeros_like(cost))
    log_q, cost = (x.flatten(0, len(sites) - 1) for x in torch.broadcast_tensors(log_q, cost))
    if bound == 1:
        return (log_q.exp() * cost).sum(0).mean()
    index, log_count = _multisets(cost.shape[0], bound)
    log_p = log_q[index].sum(1) + log_count.reshape(-1, *(1,) * (cost.ndim - 1))
    bounds = math.log(bound) - (-cost[index]).logsumexp(1)
    return (log_p.exp() * bounds).sum(0).mean()


def _multisets(values: int, size: int) -> tuple[Tensor, Tensor]:
    """All multisets, ``(multisets, size)``, and the logarithm of the number of orders of each."""
    count = math.comb(values + size - 1, size)
    if count > LIMIT:
        raise TooLargeError(f"the {size}-sample bound of {values} joint values has {count:,} multisets")
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
