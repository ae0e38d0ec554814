"""DisARM by a quotient of probabilities that is 0 / 0 where a bit is certain."""

from estbench.core.node import Node
from estbench.families.coupled import Antithetic
from torch import Tensor

CAUGHT_BY = "extremes"


class NanAtExtremes(Antithetic):
    unbiased = True
    paper = ""

    def gradient(self, node: Node, noise: Tensor, cost: Tensor) -> Tensor:
        value, opposite = node.discretise(noise)
        p = node.mean
        share = p * (1 - p) / (2 * p.minimum(1 - p))
        return node.lift(cost[0] - cost[1]) * (value - opposite) * share
