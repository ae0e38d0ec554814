"""Counts: what a gradient computes, whatever the machine."""

import math
from collections.abc import Callable

from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from estbench.node import Node
from estbench.program import Program, Sample


def flops(gradient: Callable[[], None]) -> int:
    """Floating-point operations of matrix products and convolutions; a product and a sum are two."""
    with FlopCounterMode(display=False) as counter:
        gradient()
    return int(counter.get_total_flops())


class Evaluations:
    """Counts how often costs are evaluated.

    Attributes:
        made: evaluations of the cost per example so far.
    """

    def __init__(self) -> None:
        self.made = 0.0

    def of(self, program: Program) -> Program:
        """The same program, its evaluations counted."""

        def counted(sample: Sample) -> Tensor:
            nodes: list[Node] = []

            def noted(name: str, node: Node) -> tuple[Tensor, Tensor]:
                nodes.append(node)
                return sample(name, node)

            cost = program(noted)
            examples = math.prod(nodes[0].logits.shape[: nodes[0].batch_ndim])
            self.made += cost.numel() / examples
            return cost

        return counted
