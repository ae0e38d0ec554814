"""ARM with the noise's sign flipped."""

from estbench.core.node import Node
from estbench.families.coupled import Antithetic
from torch import Tensor

CAUGHT_BY = "unbiased"


class FlippedSign(Antithetic):
    unbiased = True
    paper = ""

    def gradient(self, node: Node, noise: Tensor, cost: Tensor) -> Tensor:
        return node.lift(cost[0] - cost[1]) * (0.5 - noise[0].sigmoid())
