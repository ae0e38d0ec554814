"""Leave-one-out to which log q in the cost is a constant whatever its slope: right for ELBOs, and for nothing else."""

import torch
from estbench.core.estimator import Estimator, silent
from estbench.core.program import Program, draw, repeat
from torch import Tensor

CAUGHT_BY = "unbiased"


class DroppedSlope(Estimator):
    unbiased = True
    differentiates = False
    paper = ""

    def evaluations(self, nodes):
        return 2

    def forward(self, program: Program) -> Tensor:
        log_probs = []

        def deaf(sample):
            def constant(name, node):
                value, log_q = sample(name, node)
                log_probs.append(log_q)
                return value, log_q.detach()

            return program(constant)

        cost, _ = self.interpret(deaf, repeat(draw, 2), keep_score=True)
        excess = (cost - cost.flip(0)).detach()
        return (cost + silent(excess * torch.stack(log_probs).sum(0))).mean()
