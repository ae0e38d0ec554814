"""The state of a process that code of others can change: methods of torch, defaults, modes, folder, environment.

What is looked at: the functions and classes of torch's, numpy's and estbench's public modules and of some of Python's,
the methods of those classes, torch's defaults and modes, the working folder, the environment, signal handlers and
standard streams. What cannot be seen is what changes inside of objects: a cache, a list of a library.
"""

import inspect
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch

_MODULES = (
    "torch", "torch.autograd", "torch.distributions", "torch.fft", "torch.func", "torch.linalg", "torch.nn",
    "torch.nn.functional", "torch.nn.init", "torch.nn.utils", "torch.nn.utils.parametrizations", "torch.optim",
    "torch.optim.lr_scheduler", "torch.random", "torch.special", "torch.utils.data", "numpy", "numpy.linalg",
    "numpy.random", "builtins", "copy", "functools", "itertools", "json", "math", "os", "os.path", "pickle", "random",
    "time",
)  # fmt: skip
_OURS = ("torch", "numpy", "estbench", "random", "json", "pickle", "functools", "itertools", "copy")
_SIMPLE = (bool, int, float, str, type(None))
_ABSENT = object()


@dataclass(frozen=True)
class Setting:
    """Something that a process has one of.

    Args:
        read: its value.
        write: sets it again.
    """

    read: Callable[[], Any]
    write: Callable[[Any], object]


def _write_environment(value: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(value)


def _environment() -> dict[str, str]:
    # torch sets this one when its profiler is first used
    return {name: value for name, value in os.environ.items() if name != "KMP_DUPLICATE_LIB_OK"}


def _errors() -> list[Any]:
    # that an import adds filters is as usual; one that makes warnings errors stops others
    return [each for each in warnings.filters if each[0] == "error"]


def _write_errors(value: list[Any]) -> None:
    warnings.filters[:] = [each for each in warnings.filters if each[0] != "error" or each in value]  # type: ignore[index]
    warnings._filters_mutated()  # type: ignore[attr-defined]  # noqa: SLF001  (as warnings itself does)


def _write_folder(value: str) -> None:
    os.chdir(value)


def _device() -> str:
    return str(torch.get_default_device())


def _write_device(value: str) -> None:
    # a default of its own is a mode that slows every call
    torch.set_default_device(None if value == "cpu" else value)


def _folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109  (a text, to be compared)
    except FileNotFoundError:
        return ""


def _write_signals(value: dict[int, Any]) -> None:
    for number, handler in value.items():
        signal.signal(number, handler)


def _signals() -> dict[int, Any]:
    numbers = (signal.SIGINT, signal.SIGTERM)
    return {number: signal.getsignal(number) for number in numbers}


def _write_streams(value: tuple[Any, Any]) -> None:
    sys.stdout, sys.stderr = value


SETTINGS: dict[str, Setting] = {
    "torch's default dtype": Setting(torch.get_default_dtype, torch.set_default_dtype),
    "torch's default device": Setting(
        lambda: str(torch.get_default_device()), lambda _: torch.set_default_device(None)
    ),
    "torch's grad mode": Setting(torch.is_grad_enabled, torch.set_grad_enabled),
    "torch's inference mode": Setting(torch.is_inference_mode_enabled, lambda _: None),
    "torch's threads": Setting(torch.get_num_threads, torch.set_num_threads),
    "torch's deterministic mode": Setting(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms
    ),
    "torch's matmul precision": Setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "torch's anomaly detection": Setting(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "torch's oneDNN": Setting(lambda: torch.backends.mkldnn.enabled, torch.backends.mkldnn.set_flags),
    "numpy's error handling": Setting(np.geterr, lambda value: np.seterr(**value)),
    "the working folder": Setting(_folder, _write_folder),
    "the environment's variables": Setting(_environment, _write_environment),
    "warnings as errors": Setting(_errors, _write_errors),
    "handlers of signals": Setting(_signals, _write_signals),
    "standard streams": Setting(lambda: (sys.stdout, sys.stderr), _write_streams),
    "the recursion limit": Setting(sys.getrecursionlimit, sys.setrecursionlimit),
}


def settle() -> None:
    """Has torch import what it imports only when something is trained, so that it does not look like a change."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    with torch.enable_grad():
        parameter.sum().backward()
    torch.optim.Adam([parameter]).step()


@dataclass(frozen=True)
class ProcessState:
    """What a process was like at some moment.

    Args:
        attributes: functions, classes, methods and constants, by what they belong to and their name.
        settings: by name.
    """

    attributes: dict[tuple[Any, str], Any]
    settings: dict[str, Any]

    @classmethod
    def now(cls) -> "ProcessState":
        """The present state."""
        attributes = {(owner, name): value for owner in _owners() for name, value in _members(owner)}
        return cls(attributes, {name: setting.read() for name, setting in SETTINGS.items()})

    def changes(self) -> list[str]:
        """What is otherwise now, by name."""
        changed = [_name(owner, name) for (owner, name), value in self.attributes.items() if _other(owner, name, value)]
        return changed + [name for name, value in self.settings.items() if SETTINGS[name].read() != value]

    def restore(self) -> None:
        """Makes the process as it was, in all that can be seen."""
        for (owner, name), value in self.attributes.items():
            if _other(owner, name, value):
                setattr(owner, name, value)
        for name, value in self.settings.items():
            if SETTINGS[name].read() != value:
                SETTINGS[name].write(value)


def _owners() -> Iterator[Any]:
    """The modules that are looked at, and the classes of theirs."""
    own = [name for name in sys.modules if name == "estbench" or name.startswith("estbench.")]
    modules = [module for name in (*_MODULES, *own) if (module := sys.modules.get(name)) is not None]
    seen: set[int] = set()
    for module in modules:
        yield module
        for value in list(vars(module).values()):
            if isinstance(value, type) and id(value) not in seen and value.__module__.partition(".")[0] in _OURS:
                seen.add(id(value))
                yield value


def _members(owner: Any) -> Iterator[tuple[str, Any]]:
    for name, value in list(vars(owner).items()):
        if isinstance(value, ModuleType) or (name.startswith("__") and isinstance(owner, ModuleType)):
            continue
        if callable(value) or isinstance(value, (property, staticmethod, classmethod, *_SIMPLE)):
            yield name, value


def _other(owner: Any, name: str, value: Any) -> bool:
    """Whether an attribute is another one now."""
    now = vars(owner).get(name, _ABSENT)
    if now is value:
        return False
    if isinstance(value, _SIMPLE):
        return type(now) is not type(value) or now != value
    # the first optimiser of a class wraps the class's step, which torch itself does
    return not (getattr(now, "hooked", False) and inspect.unwrap(now) is inspect.unwrap(value))


def _name(owner: Any, name: str) -> str:
    return f"{owner.__module__}.{owner.__qualname__}.{name}" if isinstance(owner, type) else f"{owner.__name__}.{name}"
