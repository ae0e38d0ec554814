"""RLOO that leaves out the gradient of every layer but the first."""

from estbench.core.estimator import Estimator, inject
from estbench.core.program import Program, draw, repeat
from torch import Tensor

CAUGHT_BY = "unbiased"


class OnlyFirstLayer(Estimator):
    unbiased = True
    differentiates = False
    paper = ""

    def evaluations(self, nodes):
        return 2

    def forward(self, program: Program) -> Tensor:
        cost, sites = self.interpret(program, repeat(draw, 2))
        node, value = next(iter(sites.values()))
        excess = node.lift(cost.detach() - cost.detach().flip(0))
        return cost.mean() + inject(node, excess * node.score(value.detach()))
