"""Straight-through that says its samples are no exact ones."""

from estbench.core.estimator import silent
from estbench.core.node import Node
from estbench.families.pathwise import Pathwise
from torch import Tensor

CAUGHT_BY = "inexact"


class FalselyInexact(Pathwise):
    unbiased = False
    exact_samples = False
    hard = True
    paper = ""

    def sample(self, name: str, node: Node) -> Tensor:
        return node.sample() + silent(node.mean)
