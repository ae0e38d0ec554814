"""A moving-average baseline that is no buffer, so that no state_dict has it."""

from estbench.core.node import Node
from estbench.families.score_function import ScoreFunction
from torch import Tensor

CAUGHT_BY = "state_dict"


class Forgetful(ScoreFunction):
    unbiased = True
    paper = ""

    def __init__(self) -> None:
        super().__init__(1)
        self.average = 0.0

    def baseline(self, name: str, node: Node, cost: Tensor) -> Tensor:
        return cost * 0 + self.average

    def observe(self, cost: Tensor) -> None:
        self.average = 0.9 * self.average + 0.1 * cost.mean().item()
