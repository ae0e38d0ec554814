"""RLOO whose gradient is right and whose value is the baseline's surrogate."""

from estbench.core.estimator import Estimator
from estbench.core.program import Program, draw, repeat
from torch import Tensor

CAUGHT_BY = "value"


class WrongValue(Estimator):
    unbiased = True
    differentiates = False
    paper = ""

    def evaluations(self, nodes):
        return 2

    def forward(self, program: Program) -> Tensor:
        cost, sites = self.interpret(program, repeat(draw, 2))
        excess = (cost - cost.flip(0)).detach()
        log_q = sum(node.log_prob(value.detach()) for node, value in sites.values())
        return cost.mean() + (excess * log_q).mean()
