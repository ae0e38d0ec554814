"""Global settings of a process that plugins may change, with functions that read and restore each of them."""

import contextlib
import gc
import os
import signal
import sys
import threading
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import torch

from estbench.runtime import search_path
from estbench.runtime.setting import Setting
from estbench.runtime.torch_modes import MODES

try:
    import resource
except ImportError:  # Windows has no such limits
    _LIMITED: tuple[int, ...] = ()
else:
    _LIMITED = tuple(value for name, value in vars(resource).items() if name.startswith("RLIMIT_"))


# packages whose modules third-party code must leave where they are
_IMPORTED = {*sys.stdlib_module_names, "torch", "numpy", "pandas", "pyarrow", "estbench"}


def _environment() -> dict[str, str]:
    # torch sets this one when its profiler is first used
    return {name: value for name, value in os.environ.items() if name != "KMP_DUPLICATE_LIB_OK"}


def _write_environment(value: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(value)


def _errors() -> list[Any]:
    # imports usually add warning filters; a filter that turns warnings into errors would break other code
    return [each for each in warnings.filters if each[0] == "error"]


def _write_errors(value: list[Any]) -> None:
    warnings.filters[:] = [each for each in warnings.filters if each[0] != "error" or each in value]  # type: ignore[index]
    warnings._filters_mutated()  # type: ignore[attr-defined]  # noqa: SLF001  (as warnings itself does)


def _folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109  (a text, to be compared)
    except FileNotFoundError:
        return ""


def _write_folder(value: str) -> None:
    # a folder that no longer exists cannot be entered
    with contextlib.suppress(OSError):
        os.chdir(value)


def _signals() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def _write_signals(value: dict[int, Any]) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number, handler in value.items():
        # a signal handler that was not set from Python cannot be restored
        if handler is not None and signal.getsignal(number) != handler:
            signal.signal(number, handler)


def _write_device(value: str) -> None:
    # setting a default device installs a mode that slows every call
    torch.set_default_device(None if value == "cpu" else value)


def _denormals() -> bool:
    """Whether denormal numbers are flushed to 0."""
    small = torch.full((1,), 2e-39, dtype=torch.float32, device="cpu")
    return bool((small / 2).item())


def _hooks() -> list[dict[Any, Any]]:
    """The tables of hooks that torch calls for every module and every optimiser."""
    homes = vars(torch.nn.modules.module), vars(sys.modules["torch.optim.optimizer"])
    named = [pair for home in homes for pair in home.items()]
    return [table for name, table in named if name.startswith("_global_") and isinstance(table, dict)]


def _write_hooks(value: list[dict[Any, Any]]) -> None:
    for table, before in zip(_hooks(), value, strict=True):
        table.clear()
        table.update(before)


class _Imported(dict[str, ModuleType]):
    """Modules by name, which differ from earlier ones if one of those is missing or another."""

    __hash__ = None

    def __ne__(self, earlier: object) -> bool:
        return isinstance(earlier, dict) and any(self.get(name) is not module for name, module in earlier.items())


def _modules() -> _Imported:
    return _Imported({name: module for name, module in sys.modules.items() if name.partition(".")[0] in _IMPORTED})


def _mask() -> int:
    """The mask of new files' permissions, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _limits() -> dict[int, tuple[int, int]]:
    return {number: resource.getrlimit(number) for number in _LIMITED}


def _write_limits(value: dict[int, tuple[int, int]]) -> None:
    for number, (soft, hard) in value.items():
        # a lowered upper limit stays: only a privileged process could raise it again
        with contextlib.suppress(OSError, ValueError):
            highest = resource.getrlimit(number)[1]
            within = soft if highest == resource.RLIM_INFINITY or 0 <= soft <= highest else highest
            resource.setrlimit(number, (within, hard if hard == highest else highest))


def _write_collector(value: bool) -> None:
    (gc.enable if value else gc.disable)()


def _write_tracers(value: tuple[Any, Any]) -> None:
    sys.settrace(value[0])
    sys.setprofile(value[1])


def _write_handlers(value: tuple[Any, Any]) -> None:
    sys.excepthook, threading.excepthook = value


def _keep(value: object) -> None:
    """Does nothing, since this setting cannot be restored."""


SETTINGS: dict[str, Setting] = {
    "torch's default dtype": Setting(torch.get_default_dtype, torch.set_default_dtype),
    "torch's default device": Setting(lambda: str(torch.get_default_device()), _write_device),
    "torch's grad mode": Setting(torch.is_grad_enabled, torch.set_grad_enabled),
    **MODES,
    "torch's threads": Setting(torch.get_num_threads, torch.set_num_threads),
    "torch's deterministic mode": Setting(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms
    ),
    "torch's matmul precision": Setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "torch's anomaly detection": Setting(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "torch's oneDNN": Setting(lambda: torch.backends.mkldnn.enabled, torch.backends.mkldnn.set_flags),
    "torch's denormal numbers": Setting(_denormals, lambda value: torch.set_flush_denormal(not value)),
    "torch's global hooks": Setting(lambda: [dict(table) for table in _hooks()], _write_hooks),
    "numpy's error handling": Setting(np.geterr, lambda value: np.seterr(**value)),
    "the working folder": Setting(_folder, _write_folder),
    "the search path of imports": Setting(search_path.others, search_path.put_back),
    "imported modules": Setting(_modules, sys.modules.update),
    "the environment's variables": Setting(_environment, _write_environment),
    "warnings as errors": Setting(_errors, _write_errors),
    "handlers of signals": Setting(_signals, _write_signals),
    "standard streams": Setting(
        lambda: (sys.stdout, sys.stderr), lambda value: vars(sys).update(stdout=value[0], stderr=value[1])
    ),
    "handlers of exceptions": Setting(lambda: (sys.excepthook, threading.excepthook), _write_handlers),
    "the mask of new files": Setting(_mask, os.umask),
    "limits of the process": Setting(_limits, _write_limits),
    "garbage collection": Setting(gc.isenabled, _write_collector),
    "tracing": Setting(lambda: (sys.gettrace(), sys.getprofile()), _write_tracers),
    "the recursion limit": Setting(sys.getrecursionlimit, sys.setrecursionlimit),
    "threads, which go on": Setting(lambda: {thread.ident for thread in threading.enumerate()}, _keep),
}
