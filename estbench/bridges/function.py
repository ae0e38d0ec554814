"""A function of any library, by its path: ``function[path=torch.nn.functional:gumbel_softmax,tau=0.5]``.

What the function does it declares itself: ``unbiased=true`` holds it to that.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

from torch import Tensor

from estbench.bridges.losses import SurrogateFunction, surrogate
from estbench.bridges.paths import modules, resolved
from estbench.bridges.samples import PathwiseFunction, pathwise
from estbench.bridges.through_jax import jax
from estbench.core.estimator import Estimator
from estbench.core.node import Node
from estbench.core.program import Program

Bridge = PathwiseFunction | SurrogateFunction


class Function(Estimator):
    """An estimator from a function that is named by its path.

    Args:
        path: ``module:function``, or ``file.py:function``.
        kind: what the function takes and returns: ``pathwise``, ``surrogate``, ``jax`` or ``jax_surrogate``.
        others: options of the bridge, and those of the function.
    """

    unbiased = False
    differentiates = False
    mappable = False

    def __init__(
        self, path: str, kind: Literal["pathwise", "surrogate", "jax", "jax_surrogate"] = "pathwise", **others: Any
    ) -> None:
        super().__init__()
        self.path, self.kind, self.others = path, kind, others
        self.bridge = _KINDS[kind](resolved(path), **others)
        self.unbiased, self.differentiates = self.bridge.unbiased, self.bridge.differentiates
        self.couples_examples, self.exact_samples = self.bridge.couples_examples, self.bridge.exact_samples

    @classmethod
    def code(cls, options: Mapping[str, Any]) -> Sequence[str]:
        """The module or file of the function."""
        return modules(str(options.get("path", "")))

    def prepare(self, program: Program) -> Self:
        """Counts the evaluations of the cost, where the bridge does."""
        self.bridge.prepare(program)
        return self

    def evaluations(self, nodes: Sequence[Node]) -> int:
        """Those of the bridge."""
        return self.bridge.evaluations(nodes)

    def forward(self, program: Program) -> Tensor:
        """The scalar of the bridge."""
        return self.bridge(program)


def _jax_surrogate(function: Callable[..., Any], **others: Any) -> Bridge:
    return jax(function, surrogate=True, **others)


_KINDS: Mapping[str, Callable[..., Bridge]] = {
    "pathwise": pathwise,
    "surrogate": surrogate,
    "jax": jax,
    "jax_surrogate": _jax_surrogate,
}
