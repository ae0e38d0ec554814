"""A baseline that averages over the batch, its own example included, in place of the samples."""

from estbench.core.node import Node
from estbench.families.score_function import ScoreFunction
from torch import Tensor

CAUGHT_BY = "unbiased"


class WrongAxis(ScoreFunction):
    unbiased = True
    paper = ""

    def __init__(self, samples: int = 2) -> None:
        super().__init__(samples)

    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        return cost.mean(-1, keepdim=True)
