"""REINFORCE that says it differentiates the cost."""

import torch
from estbench.core.node import Node
from estbench.families.score_function import ScoreFunction
from torch import Tensor

CAUGHT_BY = "derivative"


class UnusedDerivative(ScoreFunction):
    unbiased = True
    differentiates = True
    paper = ""

    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        return torch.zeros_like(cost)
