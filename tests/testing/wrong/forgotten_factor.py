"""DisARM without the factor one half."""

from estbench.core.node import Node
from estbench.families.coupled import Antithetic
from torch import Tensor

CAUGHT_BY = "unbiased"


class ForgottenFactor(Antithetic):
    unbiased = True
    paper = ""

    def gradient(self, node: Node, noise: Tensor, cost: Tensor) -> Tensor:
        value, opposite = node.discretise(noise)
        return node.lift(cost[0] - cost[1]) * (value - opposite) * node.logits.abs().sigmoid()
