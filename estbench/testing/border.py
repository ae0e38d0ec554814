"""Nets with logits as models produce them in practice: with masked classes, or of half precision."""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor, nn

from estbench.core.node import Bernoulli, Categorical, Node, Normal, Permutation, Subset
from estbench.core.program import Program, Sample

Asked: TypeAlias = Callable[[Sample, str, Node], tuple[Tensor, Tensor]]


class Around(nn.Module):
    """A net that changes how its program calls ``sample``.

    Args:
        net: maps nothing to a program.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self) -> Program:
        """The net's program, in which ``ask`` makes each call of ``sample``."""
        program = self.net()
        return lambda sample: program(partial(self.ask, sample))

    def ask(self, sample: Sample, name: str, node: Node) -> tuple[Tensor, Tensor]:
        """Hook: makes one call of ``sample``."""
        return sample(name, node)


class Masked(Around):
    """A net whose nodes have additional masked classes, bits or items, which its program does not see.

    Categorical variables have one more class, and layers of bits or items two more.

    Normal variables, which have no masks, are as they are.

    Args:
        net: maps nothing to a program.
        leaves: a list to which each call of ``sample`` appends the zeros that it adds to the masked logits; None if
            their gradients are not needed.
    """

    def __init__(self, net: nn.Module, leaves: list[Tensor] | None = None) -> None:
        super().__init__(net)
        self.leaves = leaves

    def ask(self, sample: Sample, name: str, node: Node) -> tuple[Tensor, Tensor]:
        """Calls ``sample`` with masked classes and removes these from its result."""
        if isinstance(node, Normal):
            return sample(name, node)
        fill = [-torch.inf] if isinstance(node, (Categorical, Permutation)) else [torch.inf, -torch.inf]
        masked = node.logits.new_tensor(fill).expand(*node.logits.shape[:-1], len(fill))
        if self.leaves is not None:
            self.leaves.append(torch.zeros_like(masked, requires_grad=True))
            masked = masked + self.leaves[-1]
        value, log_q = sample(name, _extended(node, torch.cat([node.logits, masked], -1)))
        return value[..., : node.logits.shape[-1]], log_q


def _extended(node: Node, logits: Tensor) -> Node:
    """The same kind of node with more logits; a subset has one more item."""
    if isinstance(node, Subset):
        return Subset(logits, node.k + 1, node.given)
    if isinstance(node, Permutation):
        return Permutation(logits, node.given)
    return Bernoulli(logits, node.given) if isinstance(node, Bernoulli) else Categorical(logits, node.given)


class Rounded(Around):
    """A net whose logits are rounded to a dtype, and then converted back to the net's dtype or not.

    Args:
        net: maps nothing to a program.
        dtype: the dtype to which logits are rounded.
        back: whether they are converted back.
        samples: a list to which the samples that the program receives are appended.
    """

    def __init__(self, net: nn.Module, dtype: torch.dtype, *, back: bool, samples: list[Tensor]) -> None:
        super().__init__(net)
        self.dtype, self.back, self.samples = dtype, back, samples

    def ask(self, sample: Sample, name: str, node: Node) -> tuple[Tensor, Tensor]:
        """Calls ``sample`` with rounded logits and returns the sample in the net's dtype."""
        logits = node.logits.to(self.dtype)
        value, log_q = sample(name, node.made_from(logits.to(node.logits.dtype) if self.back else logits))
        if isinstance(node, Normal):
            # bits of a later layer may turn over where a number is rounded, so both ways see it rounded
            value = value.to(self.dtype)
        value = value.to(node.logits.dtype)
        self.samples.append(value.detach())
        return value, log_q
