r"""Exact: the expectation by enumeration of all joint values.

.. math:: g = \nabla \sum_b q(b) f(b)

With ``samples=m`` it enumerates all m-tuples of joint values and gives the m-sample bound
:math:`-\mathbb E \log \tfrac1m \sum_k e^{-f(b_k)}` in place of the expected cost.

Unbiased, with variance zero. Bernoulli, categorical, subset and permutation. It evaluates the cost at every joint
value, so it serves as the oracle for small programs.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from estbench.core.estimator import Estimator, NotApplicableError
from estbench.core.node import Bernoulli, Categorical, Node, Permutation, Subset
from estbench.core.program import Program, Sites, plate


class Exact(Estimator):
    """Enumerates all joint values.

    Args:
        samples: size of the multi-sample bound; 1 gives the expected cost.
        limit: largest number of tuples of joint values to enumerate.
    """

    accepts = (Bernoulli, Categorical, Subset, Permutation)
    unbiased = True
    differentiates = False
    paper = ""

    def __init__(self, samples: int = 1, limit: int = 2**18) -> None:
        super().__init__()
        if samples < 1:
            raise ValueError(f"Exact needs at least 1 sample in its bound; got {samples}")
        self.samples, self.limit = samples, limit

    @property
    def bound(self) -> int:
        return self.samples

    def evaluations(self, nodes: Sequence[Node]) -> int:
        return math.prod(node.cardinality for node in nodes)

    def forward(self, program: Program) -> Tensor:
        total, log_probs = 1, []

        def everything(name: str, node: Node, _sites: Sites) -> Tensor:
            nonlocal total
            total *= node.cardinality
            if total**self.samples > self.limit:
                raise NotApplicableError(
                    f"Exact enumerates up to {self.limit} tuples of joint values; with {name!r} there are "
                    f"{_power_of_ten(total, self.samples)}"
                )
            support = node.enumerate_support()
            log_probs.append(node.log_prob(support))
            return node.permitted(support) if node.masks else support

        cost, sites = self.interpret(program, plate(everything), keep_score=True)
        log_q = torch.stack(torch.broadcast_tensors(*log_probs)).sum(0)
        plates = len(sites)
        log_q, cost = (x.flatten(0, plates - 1) for x in torch.broadcast_tensors(log_q, cost))
        log_w, log_p = -cost, log_q
        for _ in range(self.samples - 1):
            log_w = torch.logaddexp(log_w[:, None], -cost).flatten(0, 1)
            log_p = (log_p[:, None] + log_q).flatten(0, 1)
        return -(log_p.exp() * (log_w - math.log(self.samples))).sum(0).mean()


def _power_of_ten(total: int, samples: int) -> str:
    count = total**samples
    return str(count) if count < 10**6 else f"about 10^{math.floor(math.log10(count))}"
