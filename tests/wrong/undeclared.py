"""RLOO that does not say whether it is unbiased."""

from estbench.families.score_function import ScoreFunction
from estbench.node import Node
from torch import Tensor

CAUGHT_BY = "declarations"


class Undeclared(ScoreFunction):
    paper = ""

    def __init__(self) -> None:
        super().__init__(2)

    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        return cost.flip(0)
