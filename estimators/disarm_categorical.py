r"""DisARM for categorical variables: each variable is a tree of binary decisions, all of which are antithetic.

.. math:: g_d = \tfrac12 (f(z) - f(\tilde z)) \cdot \begin{cases}
    (b_d - \tilde b_d) \, \sigma(|\alpha_d|) & d \text{ is on the way to } z \text{ and } \tilde z \\
    b_d - \sigma(\alpha_d) & \text{to } z \text{ only} \\
    \sigma(\alpha_d) - \tilde b_d & \text{to } \tilde z \text{ only} \end{cases}

for the logits :math:`\alpha_d` of the decisions; the chain rule gives the gradient for the logits of the classes. The
tree is either balanced or a comb, which is stick-breaking. For two classes the estimator is DisARM.

Unbiased. Categorical. Two evaluations per node.

Reference: Dong, Mnih & Tucker (2021), https://arxiv.org/abs/2106.08056
"""

import functools
from typing import Literal

import torch
from torch import Tensor

from estbench.core.node import Categorical, Node, softmax
from estbench.core.noise import rand
from estbench.families.coupled import Coupled

Split = tuple[list[int], list[int]]


class DisARMCategorical(Coupled):
    """The coupled estimator for categorical variables.

    Args:
        construction: ``tree`` for a balanced tree, or ``sticks`` to decide about one class after the other.
    """

    accepts = (Categorical,)
    unbiased = True
    coupled = 2
    paper = "Dong, Mnih & Tucker (2021), https://arxiv.org/abs/2106.08056"

    def __init__(self, construction: Literal["tree", "sticks"] = "tree") -> None:
        super().__init__()
        if construction not in ("tree", "sticks"):
            raise ValueError(f"decisions form a tree or sticks; got {construction!r}")
        self.construction = construction

    def couple(self, node: Node) -> Tensor:
        left, right = self._masks(node)
        logits = _decisions(node.logits, left, right)
        noise = torch.logit(rand(logits.shape, logits), eps=torch.finfo(logits.dtype).eps)
        taken = (logits + torch.stack([noise, -noise]) > 0)[..., None]
        # a class is chosen if every decision on the path to it points to it
        agrees = torch.where(taken, ~right, ~left).all(-2)
        return node.noise_given(agrees.to(node.logits.dtype))

    def gradient(self, node: Node, noise: Tensor, cost: Tensor) -> Tensor:
        left, right = self._masks(node)
        logits = _decisions(node.logits, left, right)
        value = node.discretise(noise)[..., None, :]
        bit, reached = (value * left).sum(-1), (value * (left | right)).sum(-1)
        antithetic = (bit[0] - bit[1]) * logits.abs().sigmoid()
        single = reached[0] * (bit[0] - logits.sigmoid()) - reached[1] * (bit[1] - logits.sigmoid())
        each = torch.where(reached.prod(0) > 0.5, antithetic, single)
        chain = _shares(node.logits, left) - _shares(node.logits, right)
        return node.lift(cost[0] - cost[1]) / 2 * (each[..., None] * chain).sum(-2)

    def _masks(self, node: Node) -> tuple[Tensor, Tensor]:
        return _masks(node.logits.shape[-1], self.construction == "tree", node.logits.device)


@functools.lru_cache(maxsize=16)
def _masks(classes: int, balanced: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Which classes lie left and right of each decision, ``(decisions, classes)``."""
    splits = _splits(list(range(classes)), balanced=balanced)
    masks = [[[c in side for c in range(classes)] for side in split] for split in splits]
    left, right = torch.tensor(masks, device=device).reshape(-1, 2, classes).bool().unbind(1)
    return left, right


def _splits(classes: list[int], *, balanced: bool) -> list[Split]:
    if len(classes) < 2:
        return []
    cut = len(classes) // 2 if balanced else 1
    left, right = classes[:cut], classes[cut:]
    return [(left, right), *_splits(left, balanced=balanced), *_splits(right, balanced=balanced)]


def _masked(logits: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, logits[..., None, :], -torch.inf)


def _shares(logits: Tensor, mask: Tensor) -> Tensor:
    return softmax(_masked(logits, mask))


def _decisions(logits: Tensor, left: Tensor, right: Tensor) -> Tensor:
    return _masked(logits, left).logsumexp(-1) - _masked(logits, right).logsumexp(-1)
