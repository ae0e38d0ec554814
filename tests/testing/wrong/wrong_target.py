"""VIMCO that says its objective is the expected cost."""

import math

import torch
from estbench.core.estimator import Estimator, inject
from estbench.core.program import Program, draw, repeat
from torch import Tensor

CAUGHT_BY = "target"


class WrongTarget(Estimator):
    unbiased = True
    differentiates = False
    paper = ""

    def evaluations(self, nodes):
        return 2

    def forward(self, program: Program) -> Tensor:
        cost, sites = self.interpret(program, repeat(draw, 2), keep_score=True)
        bound = (-cost).logsumexp(0) - math.log(2)
        with torch.no_grad():
            excess = bound + cost.flip(0)
        total = -bound.mean()
        for node, value in sites.values():
            with torch.no_grad():
                gradient = -2 * node.lift(excess) * node.score(value)
            total = total + inject(node, gradient)
        return total
