"""Counts of operations and cost evaluations, which do not depend on the machine."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from estbench.core.node import Node
from estbench.core.program import Program, Sample


def flops(gradient: Callable[[], None]) -> int:
    """Floating-point operations of matrix products and convolutions; a multiplication and an addition count as two."""
    with _Flops() as counter:  # type: ignore[no-untyped-call]
        gradient()
    return counter.total


class _Flops(TorchDispatchMode):
    """Sums torch's own formulas; its counter also tracks modules, which fails if one runs inside a gradient."""

    total = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        formula = flop_registry.get(function._overloadpacket)  # noqa: SLF001
        if formula is not None:
            self.total += int(formula(*args, **(kwargs or {}), out_val=result))
        return result


class Evaluations:
    """Counts evaluations of the cost.

    Attributes:
        made: number of evaluations per example so far.
    """

    def __init__(self) -> None:
        self.made = 0.0

    def of(self, program: Program) -> Program:
        """The same program, with its evaluations counted."""

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
