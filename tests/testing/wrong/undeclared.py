"""RLOO that does not say whether it is unbiased."""

from estbench.core.node import Node
from estbench.families.score_function import ScoreFunction
from torch import Tensor

CAUGHT_BY = "declarations"


class Undeclared(ScoreFunction):
    paper = ""

    def __init__(self) -> None:
        super().__init__(2)

    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        return cost.flip(0)
