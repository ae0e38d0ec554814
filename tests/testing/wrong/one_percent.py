"""REINFORCE one percent too large."""

import torch
from estbench.core.estimator import Estimator, inject
from estbench.core.program import Program, draw, repeat
from torch import Tensor

CAUGHT_BY = "unbiased"


class OnePercent(Estimator):
    unbiased = True
    differentiates = False
    paper = ""

    def evaluations(self, nodes):
        return 1

    def forward(self, program: Program) -> Tensor:
        cost, sites = self.interpret(program, repeat(draw, 1))
        total = cost.mean()
        for node, value in sites.values():
            with torch.no_grad():
                gradient = 1.01 * node.lift(cost) * node.score(value)
            total = total + inject(node, gradient)
        return total
