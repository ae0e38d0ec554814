"""Arithmetic: the numbers of a run, and how exactly matrices of them are multiplied."""

import contextlib
from collections.abc import Iterator

import torch

# all is float32 there, but operands of matrix products are rounded, those of convolutions to tf32 in both
_MATMUL = {"tf32": "high", "bf16": "medium"}


def stored(dtype: str) -> torch.dtype:
    """What parameters and data are kept in."""
    return torch.float32 if dtype in _MATMUL else getattr(torch, dtype)


def _present() -> tuple[str, bool]:
    try:
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    except RuntimeError:
        # a plugin has set them by torch's newer names, and from then on torch does not answer by these
        return "highest", False


@contextlib.contextmanager
def arithmetic(device: str, dtype: str) -> Iterator[None]:
    """Multiplies as exactly as a run asks for, on the GPU that it names; torch by itself lets convolutions use tf32."""
    before = _present()
    torch.set_float32_matmul_precision(_MATMUL.get(dtype, "highest"))
    torch.backends.cudnn.allow_tf32 = dtype in _MATMUL
    try:
        # where none is named, as by streams, graphs and plugins, it is this one too
        with torch.cuda.device(device) if device.startswith("cuda") else contextlib.nullcontext():
            yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
