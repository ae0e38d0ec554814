"""REINFORCE whose bits come from uniform noise of the logits' own dtype, which has 256 values in bfloat16."""

import torch
from estbench.core.estimator import Estimator, inject
from estbench.core.node import Bernoulli
from torch import Tensor

CAUGHT_BY = "half_precision"


class HalfPrecisionNoise(Estimator):
    accepts = (Bernoulli,)
    unbiased = True
    differentiates = False
    paper = ""

    def evaluations(self, nodes):
        return 1

    def forward(self, program) -> Tensor:
        def drawn(_name, node, _sites):
            noise = torch.rand(node.logits.shape, dtype=node.dtype, device=node.logits.device)
            return (noise < node.mean.to(node.dtype)).to(node.logits.dtype)

        cost, sites = self.interpret(program, drawn)
        total = cost.mean()
        for node, value in sites.values():
            total = total + inject(node, node.lift(cost.detach()) * node.score(value))
        return total
