"""RLOO that looks at a cost's value to decide what to do."""

import torch
from estbench.core.node import Node
from estbench.families.score_function import ScoreFunction
from torch import Tensor

CAUGHT_BY = "vmap"


class BreaksVmap(ScoreFunction):
    unbiased = True
    paper = ""

    def __init__(self) -> None:
        super().__init__(2)

    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        return torch.zeros_like(cost) if cost.std().item() == 0 else cost.flip(0)
