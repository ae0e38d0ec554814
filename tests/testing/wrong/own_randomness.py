"""Straight-through that draws from a new generator every time, which no seed reaches."""

import numpy as np
import torch
from estbench.core.estimator import silent
from estbench.core.node import Node
from estbench.families.pathwise import Pathwise
from torch import Tensor

CAUGHT_BY = "seed"


class OwnRandomness(Pathwise):
    unbiased = False
    hard = True
    paper = ""

    def sample(self, name: str, node: Node) -> Tensor:
        uniform = torch.as_tensor(np.random.default_rng().random(tuple(node.logits.shape))).to(node.logits)
        return node.discretise(torch.logit(uniform)) + silent(node.mean)
