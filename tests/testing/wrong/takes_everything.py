"""REINFORCE that says it takes Bernoulli nodes only, and takes all."""

import torch
from estbench.core.estimator import Estimator, inject
from estbench.core.node import Bernoulli
from estbench.core.program import Program, draw, repeat, run
from torch import Tensor

CAUGHT_BY = "refuses"


class TakesEverything(Estimator):
    accepts = (Bernoulli,)
    unbiased = True
    differentiates = False
    paper = ""

    def prepare(self, program: Program):
        return self

    def evaluations(self, nodes):
        return 1

    def forward(self, program: Program) -> Tensor:
        cost, sites = run(program, repeat(draw, 1))
        total = cost.mean()
        for node, value in sites.values():
            with torch.no_grad():
                gradient = node.lift(cost) * node.score(value)
            total = total + inject(node, gradient)
        return total
