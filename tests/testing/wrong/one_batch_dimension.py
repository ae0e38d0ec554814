"""RLOO that takes the second dimension for the whole batch."""

from estbench.core.node import Node
from estbench.families.score_function import ScoreFunction
from torch import Tensor

CAUGHT_BY = "broadcast"


class OneBatchDimension(ScoreFunction):
    unbiased = True
    paper = ""

    def __init__(self) -> None:
        super().__init__(2)

    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        samples, examples = cost.shape
        return cost.reshape(samples, examples).flip(0)
