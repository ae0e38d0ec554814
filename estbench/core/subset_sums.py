r"""Sums over all subsets of k of n items, in logarithms, by merging pairs of groups of items in a binary tree.

A group of items has the elementary symmetric polynomials of its weights,
:math:`e_j = \sum_{|S| = j} \prod_{i \in S} w_i`; those of two groups together are their convolution. A tree has
:math:`\log_2 n` levels, each of which is one operation on tensors, forward and backward. It gives the normaliser of a
distribution over subsets; from the root down it gives exact samples and the probability of each item.

Everything is in logarithms, where ``NEVER`` stands for a weight of 0: it is finite, so that derivatives are.

Reference: Chen & Liu (1997), https://www.jstor.org/stable/24306160, on the conditional Bernoulli distribution.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from estbench.core.one_hot import chosen_in_proportion

NEVER = -1e30


def depth_of(items: int) -> int:
    """The number of levels above the leaves."""
    return (items - 1).bit_length()


def uniforms_needed(items: int) -> int:
    """How many uniform numbers one sample takes: one for each group that is divided."""
    return int(2 ** depth_of(items)) - 1


def tree(log_weights: Tensor, size: int) -> list[Tensor]:
    """The logarithms of the polynomials of all groups, from the leaves ``(*batch, leaves, 2)`` to the root.

    Args:
        log_weights: ``(*batch, items)``; ``NEVER`` for an item that is in no subset.
        size: the largest degree that is needed.

    Returns:
        A tensor ``(*batch, groups, degrees)`` for each level; the last one has one group.
    """
    missing = uniforms_needed(log_weights.shape[-1]) + 1 - log_weights.shape[-1]
    padded = F.pad(log_weights, (0, missing), value=NEVER)
    levels = [torch.stack([torch.zeros_like(padded), padded], -1)]
    while levels[-1].shape[-2] > 1:
        left, right = _halves(levels[-1])
        degree = left.shape[-1] - 1
        rows = _windows(_padded(right, min(2 * degree, size)), degree + 1)
        levels.append((rows + left.flip(-1)[..., None, :]).logsumexp(-1))
    return levels


def divided(levels: list[Tensor], size: Tensor, uniform: Tensor) -> Tensor:
    """A subset for every vector of uniform numbers: exact samples, as 0 and 1, ``(*batch, leaves)``.

    From the root down, the items of each group are divided between its halves.

    Args:
        levels: the tree.
        size: how many items are taken, ``(*batch, 1)``, as floating-point numbers.
        uniform: numbers in [0, 1), ``(*batch, choices)``.
    """
    taken, used = size, 0
    for level in reversed(levels[:-1]):
        left, right = _halves(level)
        degrees = torch.arange(left.shape[-1], device=left.device)
        own = _padded(right, 2 * (left.shape[-1] - 1))
        place = taken[..., None].long() - degrees + left.shape[-1] - 1
        # out of range only after logits that are NaN, in a training that diverged
        place = place.clamp(0, own.shape[-1] - 1)
        logs = left + own.expand(*place.shape[:-1], own.shape[-1]).gather(-1, place)
        u = uniform[..., used : used + taken.shape[-1]]
        part = (chosen_in_proportion((logs - logs.amax(-1, keepdim=True)).exp(), u) * degrees).sum(-1)
        used += taken.shape[-1]
        taken = torch.stack([part, taken - part], -1).flatten(-2)
    return taken


def inclusions(levels: list[Tensor], size: Tensor) -> Tensor:
    """The logarithm of the probability that an item is in the subset, ``(*batch, leaves)``, differentiable.

    Args:
        levels: the tree.
        size: how many items are taken, ``(*batch, 1)``.
    """
    degrees = torch.arange(levels[-1].shape[-1], device=size.device)
    wanted = degrees == size[..., None]
    # for every group and number of its items, the total weight of the ways to complete it
    outside = torch.where(wanted, 0.0, NEVER).to(levels[-1])
    total = (levels[-1] + outside).logsumexp(-1)
    for level in reversed(levels[:-1]):
        left, right = _halves(level)
        both = [_completed(outside, other) for other in (right, left)]
        outside = torch.stack(both, -2).flatten(-3, -2)
    return outside[..., 1] + levels[0][..., 1] - total


def _completed(outside: Tensor, other: Tensor) -> Tensor:
    """The ways to complete one half of a group, from those to complete the group and the other half's weights."""
    highest = outside.shape[-1] - 1
    rows = _windows(_padded(other, highest), highest + 1).flip(-2)
    return (rows + outside[..., None, :]).logsumexp(-1)


def _halves(level: Tensor) -> tuple[Tensor, Tensor]:
    return level[..., 0::2, :], level[..., 1::2, :]


def _padded(half: Tensor, highest: int) -> Tensor:
    """The weights of degrees from minus the own highest to ``highest``."""
    degree = half.shape[-1] - 1
    return F.pad(half, (degree, highest - degree), value=NEVER)


def _windows(values: Tensor, width: int) -> Tensor:
    """All windows of the last dimension, ``(*batch, windows, width)``.

    Unlike ``unfold``, ``gather`` has a derivative that ``vmap`` maps, and a faster one.
    """
    start = torch.arange(values.shape[-1] - width + 1, device=values.device)
    place = start[:, None] + torch.arange(width, device=values.device)
    return values.gather(-1, place.flatten().expand(*values.shape[:-1], -1)).unflatten(-1, place.shape)
