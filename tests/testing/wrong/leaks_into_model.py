"""A learned baseline whose least-squares loss also trains the model."""

import torch
from estbench.core.estimator import Estimator, inject, silent
from estbench.core.program import Program, draw, repeat
from torch import Tensor, nn

CAUGHT_BY = "leaks"


class LeaksIntoModel(Estimator):
    unbiased = True
    differentiates = False
    paper = ""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(()))

    def evaluations(self, nodes):
        return 1

    def forward(self, program: Program) -> Tensor:
        cost, sites = self.interpret(program, repeat(draw, 1))
        total = cost.mean()
        for node, value in sites.values():
            with torch.no_grad():
                gradient = node.lift(cost - self.level) * node.score(value)
            total = total + inject(node, gradient)
        # right would be cost.detach()
        return total + silent((cost - self.level).square().mean()) if self.training else total
