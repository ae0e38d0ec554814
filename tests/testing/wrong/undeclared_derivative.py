"""Straight-through that says it does not differentiate the cost."""

from estbench.core.estimator import silent
from estbench.core.node import Node
from estbench.families.pathwise import Pathwise
from torch import Tensor

CAUGHT_BY = "derivative"


class UndeclaredDerivative(Pathwise):
    unbiased = False
    differentiates = False
    hard = True
    paper = ""

    def sample(self, name: str, node: Node) -> Tensor:
        return node.sample() + silent(node.mean)
