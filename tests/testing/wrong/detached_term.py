"""REBAR that forgets how the conditional noise depends on the logits (seen in public code)."""

from estbench.core.node import Node
from estbench.families.control_variate import ControlVariate, WhatIf
from torch import Tensor
from torch.func import grad_and_value

CAUGHT_BY = "unbiased"


class DetachedTerm(ControlVariate):
    unbiased = True
    differentiates = True
    paper = ""

    def stand_in(self, node, noise):
        return node.relax(noise, 0.5)

    def evaluations(self, nodes):
        return 1 + len(nodes)

    def gradient(self, name: str, node: Node, noise: Tensor, cost: Tensor, what_if: WhatIf) -> Tensor:
        def control(noise):
            each = what_if(self.stand_in(node, noise))
            return each.sum(), each

        slope, (_, each) = grad_and_value(control, has_aux=True)(noise)
        # right would be node.gap(noise, slope)
        return node.lift(cost - each) * node.score(node.discretise(noise)) + slope
