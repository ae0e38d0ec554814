"""Rounding: the rounding error of one gradient, measured by perturbing its operations at random.

The result of each operation is perturbed by at most one rounding error, while the random numbers of the estimate stay
the same. The spread of the perturbed runs shows how large the rounding error of the unperturbed run can be after errors
have accumulated, cancelled or been amplified.

Reference: Monte Carlo arithmetic, Parker (1997), https://web.cs.ucla.edu/~stott/mca/CSD-970002.ps.gz
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from estbench.engine.base import Bench
from estbench.engine.moments.moments import Gradients, Moments
from estbench.engine.moments.variables import Variables
from estbench.runtime.precision import inside

RUNS = 5
# an error of up to this many times the largest distance between perturbed runs is not reported as bias
MARGIN = 4.0

# operations whose results are rounded even if they are whole numbers, like the sigmoid of 17 in float32
_NAMES = (
    "sigmoid", "tanh", "exp", "log", "log1p", "expm1", "softplus", "logaddexp", "log_sigmoid_forward", "_softmax",
    "_log_softmax", "logsumexp",
)  # fmt: skip
_ROUNDED = frozenset(getattr(torch.ops.aten, name) for name in _NAMES)
# operations whose operands tf32 rounds to eleven bits
_PRODUCTS = frozenset(
    getattr(torch.ops.aten, name) for name in ("mm", "bmm", "addmm", "baddbmm", "convolution", "convolution_backward")
)
_TF32 = 2.0**-10


class _Disturbed(TorchDispatchMode):
    """Changes about half the results of floating-point operations in their last digits, towards zero.

    Random numbers are not changed, nor whole numbers such as samples, whose arithmetic is exact.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(
        self,
        function: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        drawn = torch.Tag.nondeterministic_seeded in function.tags
        if drawn or function.is_view or function._schema.is_mutable:  # noqa: SLF001  (torch has no public way to ask)
            return result
        whole = function.overloadpacket in _ROUNDED
        least = _TF32 if inside()[1] == "tf32" and function.overloadpacket in _PRODUCTS else 0.0
        return tree_map_only(Tensor, lambda values: self._moved(values, least, whole=whole), result)

    def _moved(self, values: Tensor, least: float, *, whole: bool) -> Tensor:
        if not values.is_floating_point():
            return values
        eps = max(torch.finfo(values.dtype).eps, least if values.is_cuda else 0.0)
        chosen = torch.rand(values.shape, generator=self._generator).to(values.device) < 0.5
        moved = torch.where(chosen, values * (1 - eps), values)
        return moved if whole else torch.where(values == values.round(), values, moved)


def rounding(bench: Bench, variables: Variables, gradient: Callable[[], Gradients]) -> dict[str, float]:
    """A bound on the norm of the rounding error of one gradient, by group.

    Args:
        bench: the bench.
        variables: the variables with respect to which the gradient is taken.
        gradient: computes one gradient by part, of an estimator or the true one.
    """
    plain = variables.grouped(_moments(_run(bench, gradient, None)))
    moved = [variables.grouped(_moments(_run(bench, gradient, seed))) for seed in range(RUNS)]
    return {
        group: MARGIN * max(float((each[group].means - own.means).norm(dim=1).max()) for each in moved)
        for group, own in plain.items()
    }


def _run(bench: Bench, gradient: Callable[[], Gradients], seed: int | None) -> Gradients:
    with bench.aside("rounding"), torch.no_grad():
        if seed is None:
            return gradient()
        with _Disturbed(seed):
            return gradient()


def _moments(gradients: Gradients) -> dict[str, Moments]:
    return {part: Moments.exact(values.detach()) for part, values in gradients.items()}
