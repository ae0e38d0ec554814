"""Nets whose logits are what real models make: with masked classes, or of half precision."""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor, nn

from estbench.core.node import Bernoulli, Categorical, Node, Subset
from estbench.core.program import Program, Sample

Asked: TypeAlias = Callable[[Sample, str, Node], tuple[Tensor, Tensor]]


class Around(nn.Module):
    """A net whose program's calls of ``sample`` are made in another way.

    Args:
        net: maps nothing to a program.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self) -> Program:
        """The net's program, with its samples asked for by ``ask``."""
        program = self.net()
        return lambda sample: program(partial(self.ask, sample))

    def ask(self, sample: Sample, name: str, node: Node) -> tuple[Tensor, Tensor]:
        """Hook: asks for one sample."""
        return sample(name, node)


class Masked(Around):
    """Variables have one class more than the net's program sees, and layers two bits or items more: all masked.

    Args:
        net: maps nothing to a program.
        leaves: takes zeros that were added to the masked logits, a tensor per call of ``sample``; None where nobody
            asks for their gradients.
    """

    def __init__(self, net: nn.Module, leaves: list[Tensor] | None = None) -> None:
        super().__init__(net)
        self.leaves = leaves

    def ask(self, sample: Sample, name: str, node: Node) -> tuple[Tensor, Tensor]:
        """Asks for a sample with masked classes and cuts them off."""
        fill = [-torch.inf] if isinstance(node, Categorical) else [torch.inf, -torch.inf]
        masked = node.logits.new_tensor(fill).expand(*node.logits.shape[:-1], len(fill))
        if self.leaves is not None:
            self.leaves.append(torch.zeros_like(masked, requires_grad=True))
            masked = masked + self.leaves[-1]
        value, log_q = sample(name, _extended(node, torch.cat([node.logits, masked], -1)))
        return value[..., : node.logits.shape[-1]], log_q


def _extended(node: Node, logits: Tensor) -> Node:
    """The same kind of node with more logits; of a subset with one item more."""
    if isinstance(node, Subset):
        return Subset(logits, node.k + 1, node.given)
    return Bernoulli(logits, node.given) if isinstance(node, Bernoulli) else Categorical(logits, node.given)


class Rounded(Around):
    """Logits are rounded to a dtype, and stay in it or come back to the net's.

    Args:
        net: maps nothing to a program.
        dtype: to round to.
        back: whether they come back.
        samples: takes the samples that the program gets.
    """

    def __init__(self, net: nn.Module, dtype: torch.dtype, *, back: bool, samples: list[Tensor]) -> None:
        super().__init__(net)
        self.dtype, self.back, self.samples = dtype, back, samples

    def ask(self, sample: Sample, name: str, node: Node) -> tuple[Tensor, Tensor]:
        """Asks for a sample from rounded logits; it comes back in the net's dtype."""
        logits = node.logits.to(self.dtype)
        value, log_q = sample(name, node.made_from(logits.to(node.logits.dtype) if self.back else logits))
        value = value.to(node.logits.dtype)
        self.samples.append(value.detach())
        return value, log_q
