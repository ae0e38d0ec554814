"""The dtype and the matrix-product precision of a run."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

# everything is float32 there, except the operands of matrix products and convolutions
_ROUNDED = ("tf32", "bf16")

_PRODUCTS = frozenset(
    {
        *(torch.matmul, torch.mm, torch.bmm, torch.mv, torch.addmm, torch.baddbmm, torch.einsum, torch.tensordot),
        *(Tensor.matmul, Tensor.__matmul__, Tensor.__rmatmul__, Tensor.mm, Tensor.bmm, Tensor.mv, Tensor.addmm),
        *(Tensor.baddbmm, F.linear, F.bilinear, F.conv1d, F.conv2d, F.conv3d),
        *(F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
    }
)


class _Bfloat16(TorchFunctionMode):
    """Rounds operands and results of float32 matrix products to bfloat16, on every device and in the backward pass too.

    Torch's own switch leaves them in float32 on CPUs without bfloat16 units, and in tf32 on GPUs.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func not in _PRODUCTS:
            return func(*args, **(kwargs or {}))
        args, kwargs = tree_map_only(Tensor, _rounded, (tuple(args), dict(kwargs or {})))
        result = func(*args, **kwargs)
        return result.float() if result.dtype == torch.bfloat16 else result


def _rounded(operand: Tensor) -> Tensor:
    return operand.bfloat16() if operand.dtype == torch.float32 else operand


_inside: ContextVar[tuple[str, str]] = ContextVar("arithmetic", default=("cpu", "float32"))


def inside() -> tuple[str, str]:
    """Device and dtype of the current run, as arguments of ``arithmetic`` in other processes of the same run."""
    return _inside.get()


def stored(dtype: str) -> torch.dtype:
    """The dtype of parameters and data."""
    return torch.float32 if dtype in _ROUNDED else getattr(torch, dtype)


def _present() -> tuple[str, bool]:
    try:
        with _quiet():
            return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    except RuntimeError:
        # after a plugin has used torch's newer names for these settings, torch refuses the older names
        return "highest", False


def _set(products: str, convolutions: bool) -> None:
    """Sets the precision of matrix products, and whether convolutions may use tf32."""
    with _quiet():
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences a warning of torch 2.9.0 about names that earlier versions need; later versions do not warn."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Please use the new API settings to control TF32", category=UserWarning
        )
        yield


@contextlib.contextmanager
def arithmetic(device: str, dtype: str) -> Iterator[None]:
    """Sets the run's precision of matrix products inside the context; by default torch lets convolutions use tf32."""
    before, outside = _present(), _inside.set((device, dtype))
    _set("high" if dtype == "tf32" else "highest", dtype == "tf32")
    try:
        # it is also the device for code that names none, such as streams, graphs and plugins
        with (
            torch.cuda.device(device) if device.startswith("cuda") else contextlib.nullcontext(),
            _Bfloat16() if dtype == "bf16" else contextlib.nullcontext(),
        ):
            yield
    finally:
        _inside.reset(outside)
        _set(*before)
