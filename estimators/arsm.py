r"""ARSM: augment, REINFORCE, swap, merge; Dirichlet noise with two of its entries swapped.

.. math:: g_c = \sum_j \big(f_{cj} - \tfrac1C \sum_m f_{mj}\big) (\tfrac1C - w_j), \qquad
    f_{cj} = f\big(\arg\min_i (\log w^{c \leftrightarrow j}_i - \ell_i)\big)

with :math:`w \sim \mathrm{Dir}(1_C)`, and the same pair swapped in all units at once.

Unbiased. Categorical. C (C - 1) / 2 + 1 evaluations per node.

Reference: Yin, Yue & Zhou (2019), https://arxiv.org/abs/1905.01413
"""

import functools
import itertools

import torch
from torch import Tensor

from estbench.core.node import Categorical, Node, softmax
from estbench.families.coupled import Coupled


class ARSM(Coupled):
    """The augment-REINFORCE-swap-merge estimator."""

    accepts = (Categorical,)
    unbiased = True
    paper = "Yin, Yue & Zhou (2019), https://arxiv.org/abs/1905.01413"

    def values(self, node: Node) -> int:
        return len(_swaps(node.logits.shape[-1]))

    def couple(self, node: Node) -> Tensor:
        return node.noise()[..., _table(node.logits.shape[-1], node.logits.device)].movedim(-2, 0)

    def gradient(self, node: Node, noise: Tensor, cost: Tensor) -> Tensor:
        classes = node.logits.shape[-1]
        # Gumbel variables are minus the logarithms of exponential ones, which over their sum are Dirichlet
        weight = softmax(-noise[0])
        table = cost[_which(classes, cost.device)]
        excess = (table - table.mean(0)).movedim((0, 1), (-2, -1))
        return torch.einsum("...cj,...uj->...uc", excess, 1 / classes - weight)


def _swaps(classes: int) -> list[list[int]]:
    """The identity, and all permutations that swap two classes."""
    pairs = itertools.combinations(range(classes), 2)
    swapped = [[{i: j, j: i}.get(k, k) for k in range(classes)] for i, j in pairs]
    return [list(range(classes)), *swapped]


@functools.lru_cache(maxsize=16)
def _table(classes: int, device: torch.device) -> Tensor:
    return torch.tensor(_swaps(classes), device=device)


@functools.lru_cache(maxsize=16)
def _which(classes: int, device: torch.device) -> Tensor:
    """Which swap exchanges two classes, ``(classes, classes)``."""
    table = torch.zeros(classes, classes, dtype=torch.long)
    for number, (i, j) in enumerate(itertools.combinations(range(classes), 2), 1):
        table[i, j] = table[j, i] = number
    return table.to(device)
