r"""A Dirichlet copula: uniform variables that repel each other.

With :math:`d \sim \mathrm{Dir}(1_K)` the variables :math:`v_k = (1 - d_k)^{K-1}` are uniform, and two of them are
seldom small together. Two are 1 minus each other.

Reference: Dimitriev & Zhou (2021), https://arxiv.org/abs/2105.14141
"""

import math

import torch
from torch import Tensor

from estbench.core.noise import uniform


def repelling_noise(count: int, like: Tensor) -> Tensor:
    """Logistic noise, ``(count, *like.shape)``: minus the logits of the uniforms, so large where those are small."""
    exponential = -uniform((count, *like.shape), like).log()
    log_v = (count - 1) * torch.log1p(-exponential / exponential.sum(0))
    limits = torch.finfo(like.dtype)
    log_v = log_v.clamp(math.log(limits.tiny), -limits.tiny)
    return torch.log(-torch.expm1(log_v)) - log_v


def both_below(p: Tensor, count: int) -> Tensor:
    """P(both < p) / p for two of ``count`` uniforms: the probability that one is below p, given that the other is."""
    return (2 - p.pow(-1 / (count - 1))).clamp_min(0).pow(count - 1)
