"""Relaxed samples whose noise comes from a generator with a fixed seed, made in every call: no replicate differs."""

import torch
from estbench.core.node import Node
from estbench.families.pathwise import Pathwise
from torch import Tensor

CAUGHT_BY = "seed"


class FixedSeed(Pathwise):
    unbiased = False
    hard = False
    paper = ""

    def sample(self, name: str, node: Node) -> Tensor:
        generator = torch.Generator().manual_seed(135)
        noise = torch.rand(node.logits.shape, generator=generator, dtype=torch.float64).to(node.logits)
        return node.relax(torch.logit(noise), 0.5)
