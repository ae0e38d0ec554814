r"""Antithetic RLOO: samples in pairs of opposite noise, each pair judged against the mean of the others.

.. math:: g = \tfrac1{2P} \sum_{p} \sum_{b \in \{b_p, \tilde b_p\}} (f(b) - \bar f_{-p}) \, \nabla \log q(b)

:math:`\tilde b_p` comes from the negative of the noise of :math:`b_p`, in every node, and :math:`\bar f_{-p}`
is the mean cost of the other pairs. Each sample is an exact sample and independent of its baseline, so this is
unbiased; that its mate is opposite lowers the variance.

Unbiased. Bernoulli. 2 P evaluations.
"""

from collections.abc import Sequence

import torch
from estbench import Bernoulli, Estimator, Node
from estbench.core.estimator import inject
from estbench.core.program import Program, Sites, repeat
from torch import Tensor


class AntitheticRLOO(Estimator):
    """The leave-one-out estimator with antithetic pairs.

    Args:
        pairs: pairs of joint samples, at least 2.
    """

    accepts = (Bernoulli,)
    unbiased = True
    differentiates = False
    paper = ""

    def __init__(self, pairs: int = 2) -> None:
        super().__init__()
        if pairs < 2:
            raise ValueError(f"AntitheticRLOO leaves one pair out, so it needs at least 2; got {pairs}")
        self.pairs = pairs

    def evaluations(self, nodes: Sequence[Node]) -> int:  # noqa: ARG002
        """Two per pair."""
        return 2 * self.pairs

    def forward(self, program: Program) -> Tensor:
        """The scalar for a program."""
        cost, sites = self.interpret(program, repeat(self._mates, 2 * self.pairs))
        total = cost.mean()
        with torch.no_grad():
            of_pair = cost.unflatten(0, (2, self.pairs)).mean(0)
            others = (of_pair.sum(0) - of_pair) / (self.pairs - 1)
            excess = cost - torch.cat([others, others])
        for node, value in sites.values():
            with torch.no_grad():
                gradient = node.lift(excess) * node.score(value)
            total = total + inject(node, gradient)
        return total

    def _mates(self, _name: str, node: Node, _sites: Sites) -> Tensor:
        """Values of opposite noise in the two halves of the samples, ``(2 * pairs, *batch, units)``."""
        noise = node.at(node.logits[: self.pairs]).noise()
        return node.discretise(torch.cat([noise, -noise]))
