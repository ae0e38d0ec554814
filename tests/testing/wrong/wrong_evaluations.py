"""RLOO that declares one evaluation and makes two."""

from estbench.core.node import Node
from estbench.families.score_function import ScoreFunction
from torch import Tensor

CAUGHT_BY = "evaluations"


class WrongEvaluations(ScoreFunction):
    unbiased = True
    paper = ""

    def __init__(self) -> None:
        super().__init__(2)

    def evaluations(self, nodes):
        return 1

    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        return cost.flip(0)
