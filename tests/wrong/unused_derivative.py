"""REINFORCE that says it differentiates the cost."""

import torch
from estbench.families.score_function import ScoreFunction
from estbench.node import Node
from torch import Tensor

CAUGHT_BY = "derivative"


class UnusedDerivative(ScoreFunction):
    unbiased = True
    differentiates = True
    paper = ""

    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        return torch.zeros_like(cost)
