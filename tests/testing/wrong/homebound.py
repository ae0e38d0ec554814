"""Straight-through that makes its noise on the CPU, wherever the logits are."""

import torch
from estbench.core.estimator import silent
from estbench.core.node import Node
from estbench.families.pathwise import Pathwise
from torch import Tensor

CAUGHT_BY = "devices"


class Homebound(Pathwise):
    unbiased = False
    hard = True
    paper = ""

    def sample(self, name: str, node: Node) -> Tensor:
        noise = torch.logit(torch.rand(node.logits.shape, dtype=node.logits.dtype))
        return node.discretise(noise) + silent(node.mean)
