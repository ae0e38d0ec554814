"""The global state of a process that plugins may change: methods of torch, defaults, modes, folder, environment.

It consists of the functions and classes in the modules of torch, numpy, estbench and parts of Python's library, the
methods of these classes, torch's defaults, modes and global hooks, the working folder, the import path, the
environment, signal handlers, standard streams and running threads. Changes inside objects, such as a library's cache,
are not seen.
"""

import contextlib
import inspect
import operator
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from estbench.runtime.process_settings import SETTINGS

_MODULES = (
    "torch", "torch.func", "torch.linalg", "torch.fft", "torch.special", "torch.random", "torch.nn.functional",
    "torch.nn.init", "torch.utils.data", "torch.overrides", "numpy", "numpy.linalg", "numpy.random", "builtins", "copy",
    "functools", "itertools", "json", "math", "os", "os.path", "pickle", "random", "time", "contextlib", "dataclasses",
    "hashlib", "inspect", "io", "pathlib", "shutil", "tempfile", "pandas", "pyarrow", "pyarrow.parquet",
)  # fmt: skip
# prefixes of the names of modules
_PACKAGES = ("estbench.", "torch.autograd.", "torch.distributions.", "torch.nn.modules.", "torch.optim.")
_OURS = (
    "torch", "numpy", "pandas", "pyarrow", "estbench", "random", "json", "pickle", "functools", "itertools", "copy",
    "contextlib", "dataclasses", "hashlib", "inspect", "io", "pathlib", "shutil", "tempfile",
)  # fmt: skip
_SIMPLE = (bool, int, float, str, type(None))
_METHODS = (property, staticmethod, classmethod)
# attributes that Python itself sets in classes, or torch in its own, such as Storage by the default dtype
_NOTES = ("__abstractmethods__", "__annotate_func__", "__annotations__", "__slotnames__", "__static_attributes__")
_KEPT_BY_TORCH = ("next_id", "Storage")
# pydantic keeps what it finds of a class in the class, when it is first asked
_KEPT_BY_PYDANTIC = ("__pydantic_", "__is_pydantic_", "__signature__")
_ABSENT = object()


def settle() -> None:
    """Makes torch import the modules that it imports lazily in training, so that they do not look like a change."""
    # Python keeps the place of temporary files once it was asked for
    tempfile.gettempdir()
    parameter = torch.nn.Parameter(torch.zeros(1))
    with torch.enable_grad():
        parameter.sum().backward()
    torch.optim.Adam([parameter]).step()


@dataclass(frozen=True)
class ProcessState:
    """The global state of a process at some moment.

    Args:
        attributes: the attributes of modules and classes, by owner and name.
        settings: the values of the global settings, by name.
    """

    attributes: Mapping[Any, Mapping[str, Any]]
    settings: Mapping[str, Any]

    @classmethod
    def now(cls) -> "ProcessState":
        """The current state."""
        attributes = {owner: dict(vars(owner)) for owner in _owners()}
        return cls(attributes, {name: setting.read() for name, setting in SETTINGS.items()})

    def changes(self) -> list[str]:
        """The names of everything that has changed since."""
        changed = [_name(owner, name) for owner, name, _ in self._changed()]
        return changed + [name for name, value in self.settings.items() if SETTINGS[name].read() != value]

    def restore(self) -> None:
        """Restores the process to this state, as far as changes can be seen."""
        for owner, name, value in list(self._changed()):
            if value is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, value)
        for name, value in self.settings.items():
            if SETTINGS[name].read() != value:
                SETTINGS[name].write(value)

    def _changed(self) -> Iterator[tuple[Any, str, Any]]:
        """The attributes that have changed: their owner, name and earlier value."""
        for owner, before in self.attributes.items():
            now = vars(owner)
            if len(now) == len(before) and all(map(operator.is_, now.values(), before.values())):
                continue
            names = [name for name in before if _counts(owner, name, before[name])]
            if isinstance(owner, type):
                names += [name for name in now if name not in before and _counts(owner, name, now[name])]
            for name in names:
                if _other(owner, name, before.get(name, _ABSENT)):
                    yield owner, name, before.get(name, _ABSENT)


@contextlib.contextmanager
def unchanged() -> Iterator[list[str]]:
    """Puts this process back afterwards as it was, and names in the list that it gives what had been changed."""
    settle()
    before, changed = ProcessState.now(), list[str]()
    try:
        yield changed
    finally:
        changed += before.changes()
        before.restore()


def _owners() -> Iterator[Any]:
    """The observed modules and their classes."""
    names = [name for name in list(sys.modules) if name in _MODULES or f"{name}.".startswith(_PACKAGES)]
    modules = [module for name in names if isinstance(module := sys.modules.get(name), ModuleType)]
    yield from modules
    classes = {value for module in modules for value in list(vars(module).values()) if isinstance(value, type)}
    yield from (cls for cls in classes if cls.__module__.partition(".")[0] in _OURS)


def _counts(owner: Any, name: str, value: Any) -> bool:
    """Whether an attribute is observed."""
    private = name.startswith("__" if isinstance(owner, ModuleType) else _KEPT_BY_PYDANTIC)
    if private or isinstance(value, ModuleType) or name in (*_NOTES, *_KEPT_BY_TORCH):
        return False
    return callable(value) or isinstance(value, (*_METHODS, *_SIMPLE))


def _other(owner: Any, name: str, value: Any) -> bool:
    """Whether an attribute has been replaced."""
    now = vars(owner).get(name, _ABSENT)
    if now is value:
        return False
    if isinstance(value, _SIMPLE):
        return type(now) is not type(value) or now != value
    if value is _ABSENT:
        # the class did not define this attribute itself
        value = next((vars(cls)[name] for cls in owner.__mro__[1:] if name in vars(cls)), _ABSENT)
    # torch itself wraps the ``step`` method of an optimiser class when its first instance is made
    return not (getattr(now, "hooked", False) and inspect.unwrap(now) is _unwrapped(value))


def _unwrapped(value: Any) -> Any:
    return inspect.unwrap(value) if callable(value) else value


def _name(owner: Any, name: str) -> str:
    return f"{owner.__module__}.{owner.__qualname__}.{name}" if isinstance(owner, type) else f"{owner.__name__}.{name}"
