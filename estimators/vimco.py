r"""VIMCO: the gradient of the multi-sample bound, with the bound without each sample as its baseline.

.. math:: \hat L = \log \tfrac1K \sum_k e^{-f(b_k)}, \qquad
    g = -\sum_k (\hat L - \hat L_{-k}) \nabla \log q(b_k) + \sum_k \tilde w_k \nabla f(b_k)

:math:`\hat L_{-k}` is the bound with the k-th weight replaced by the geometric mean of the others.

Unbiased for the K-sample bound, and not for the expected cost. Bernoulli, categorical and subset. K evaluations.

Reference: Mnih & Rezende (2016), https://arxiv.org/abs/1602.06725
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from estbench.core.estimator import Estimator, inject
from estbench.core.node import Bernoulli, Categorical, Node, Subset
from estbench.core.program import Program, draw, repeat


class VIMCO(Estimator):
    """Gradient of the multi-sample bound.

    Args:
        samples: number of joint samples per gradient, which is also the size of the bound; at least 2.
    """

    accepts = (Bernoulli, Categorical, Subset)
    unbiased = True
    differentiates = False
    paper = "Mnih & Rezende (2016), https://arxiv.org/abs/1602.06725"

    def __init__(self, samples: int = 2) -> None:
        super().__init__()
        if samples < 2:
            raise ValueError(f"VIMCO leaves one sample out, so it needs at least 2; got {samples}")
        self.samples = samples

    @property
    def bound(self) -> int:
        return self.samples

    def evaluations(self, nodes: Sequence[Node]) -> int:
        return self.samples

    def forward(self, program: Program) -> Tensor:
        cost, sites = self.interpret(program, repeat(draw, self.samples), keep_score=True)
        bound = (-cost).logsumexp(0) - math.log(self.samples)
        with torch.no_grad():
            excess = bound - _without_each(-cost)
        total = -bound.mean()
        for node, value in sites.values():
            with torch.no_grad():
                # inject averages over the samples; the bound's gradient sums over them
                gradient = -self.samples * node.lift(excess) * node.score(value)
            total = total + inject(node, gradient)
        return total


def _without_each(log_w: Tensor) -> Tensor:
    """The bound with each log-weight in turn replaced by the mean of the others, ``(samples, *batch)``."""
    samples = log_w.shape[0]
    others = (log_w.sum(0) - log_w) / (samples - 1)
    own = torch.eye(samples, dtype=torch.bool, device=log_w.device)
    own = own.reshape(samples, samples, *(1,) * (log_w.ndim - 1))
    return torch.where(own, others, log_w).logsumexp(1) - math.log(samples)
