"""REINFORCE that keeps a lambda."""

from estbench.core.node import Node
from estbench.families.score_function import ScoreFunction
from torch import Tensor

CAUGHT_BY = "pickles"


class Unpicklable(ScoreFunction):
    unbiased = True
    paper = ""

    def __init__(self) -> None:
        super().__init__(1)
        self.make = lambda cost: 0 * cost

    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        return self.make(cost)
