"""Straight-through that says it does not differentiate the cost."""

from estbench.estimator import silent
from estbench.families.pathwise import Pathwise
from estbench.node import Node
from torch import Tensor

CAUGHT_BY = "derivative"


class UndeclaredDerivative(Pathwise):
    unbiased = False
    differentiates = False
    hard = True
    paper = ""

    def sample(self, name: str, node: Node) -> Tensor:
        return node.sample() + silent(node.mean)
