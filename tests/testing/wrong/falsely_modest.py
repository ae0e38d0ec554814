"""RLOO that says it is biased."""

from estbench.core.node import Node
from estbench.families.score_function import ScoreFunction
from torch import Tensor

CAUGHT_BY = "biased"


class FalselyModest(ScoreFunction):
    unbiased = False
    paper = ""

    def __init__(self) -> None:
        super().__init__(2)

    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        return cost.flip(0)
