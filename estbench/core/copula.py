r"""Dirichlet copula: uniform variables that are negatively dependent.

With :math:`d \sim \mathrm{Dir}(1_K)`, each variable :math:`v_k = (1 - d_k)^{K-1}` is uniform, and two of them are
rarely small at the same time. For :math:`K = 2`, :math:`v_2 = 1 - v_1`.

Reference: Dimitriev & Zhou (2021), https://arxiv.org/abs/2105.14141
"""

import math

import torch
from torch import Tensor

from estbench.core.noise import uniform


def repelling_noise(count: int, like: Tensor) -> Tensor:
    """Logistic noise, ``(count, *like.shape)``: minus the logits of the uniforms, large where they are small."""
    exponential = -uniform((count, *like.shape), like).log()
    log_v = (count - 1) * torch.log1p(-exponential / exponential.sum(0))
    limits = torch.finfo(like.dtype)
    log_v = log_v.clamp(math.log(limits.tiny), -limits.tiny)
    return torch.log(-torch.expm1(log_v)) - log_v


def both_below(p: Tensor, count: int) -> Tensor:
    """P(both < p) / p for two of ``count`` uniforms: the probability that one is below p, given that the other is."""
    return (2 - p.pow(-1 / (count - 1))).clamp_min(0).pow(count - 1)
