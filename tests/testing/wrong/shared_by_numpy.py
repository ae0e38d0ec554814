"""Straight-through that draws from NumPy's global generator, which is the same for all replicates under vmap."""

import numpy as np
import torch
from estbench.core.estimator import silent
from estbench.core.node import Node
from estbench.families.pathwise import Pathwise
from torch import Tensor

CAUGHT_BY = "vmap"


class SharedByNumpy(Pathwise):
    unbiased = False
    hard = True
    paper = ""

    def sample(self, name: str, node: Node) -> Tensor:
        uniform = torch.as_tensor(np.random.rand(*node.logits.shape)).to(node.logits)  # noqa: NPY002
        return node.discretise(torch.logit(uniform)) + silent(node.mean)
