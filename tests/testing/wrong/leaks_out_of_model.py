"""Gumbel-Softmax with a learned temperature that the cost's own gradient reaches."""

import torch
from estbench.core.node import Node
from estbench.families.pathwise import Pathwise
from torch import Tensor, nn

CAUGHT_BY = "leaks"


class LeaksOutOfModel(Pathwise):
    unbiased = False
    hard = False
    paper = ""

    def __init__(self) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.zeros(()))

    def sample(self, name: str, node: Node) -> Tensor:
        return node.relax(node.noise(), self.log_temperature.exp())
