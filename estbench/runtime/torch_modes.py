"""Modes of torch that stay active in a process when code enters them and does not leave them."""

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import _get_current_function_mode_stack as function_modes
from torch.overrides import _pop_mode as pop_function_mode
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack as dispatch_modes
from torch.utils._python_dispatch import _pop_mode as pop_dispatch_mode

from estbench.runtime.setting import Setting

_AUTOGRAD = torch._C._autograd  # noqa: SLF001  (torch has no public way)


def _leave(stack: Callable[[], list[Any]], pop: Callable[[], object], before: tuple[Any, ...]) -> None:
    """Leaves the modes that were entered since."""
    while len(stack()) > len(before):
        pop()


def _functions() -> list[Any]:
    """The function modes, but for the one that torch itself enters for a default device."""
    return [mode for mode in function_modes() if not isinstance(mode, DeviceContext)]


def _saving() -> Any:
    """The functions that autograd calls on what it saves for the backward pass; None if there are none."""
    return _AUTOGRAD._top_saved_tensors_default_hooks(False)  # noqa: SLF001


def _write_saving(value: Any) -> None:
    while _saving() not in (None, value):
        _AUTOGRAD._pop_saved_tensors_default_hooks()  # noqa: SLF001


class _Inference:
    """Inference mode, which can be left from outside only by a mode of the opposite kind that stays."""

    def __init__(self) -> None:
        self._entered: list[Any] = []

    def write(self, value: bool) -> None:
        self._entered.append(torch._C._InferenceMode(value))  # noqa: SLF001


def _autocast() -> tuple[tuple[bool, torch.dtype], ...]:
    return tuple((torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda"))


def _write_autocast(value: tuple[tuple[bool, torch.dtype], ...]) -> None:
    for kind, (enabled, dtype) in zip(("cpu", "cuda"), value, strict=True):
        torch.set_autocast_enabled(kind, enabled)
        torch.set_autocast_dtype(kind, dtype)
    torch.clear_autocast_cache()


MODES: dict[str, Setting] = {
    "torch's inference mode": Setting(torch.is_inference_mode_enabled, _Inference().write),
    "torch's autocast": Setting(_autocast, _write_autocast),
    "torch's hooks on saved tensors": Setting(_saving, _write_saving),
    "torch's function modes": Setting(
        lambda: tuple(map(id, _functions())), lambda value: _leave(_functions, pop_function_mode, value)
    ),
    "torch's dispatch modes": Setting(
        lambda: tuple(map(id, dispatch_modes())), lambda value: _leave(dispatch_modes, pop_dispatch_mode, value)
    ),
}
