"""Paths of functions: ``module:function`` or ``file.py:function``."""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from estbench.errors import UserError, nearest, reason
from estbench.plugins.loading import import_file
from estbench.runtime.guard import muted, pass_on


def modules(path: str) -> Sequence[str]:
    """The module or the file that a path names."""
    module, _, _ = path.rpartition(":")
    return (module,) if module else ()


def resolved(path: str) -> Callable[..., Any]:
    """The function at a path.

    Raises:
        UserError: there is none.
    """
    module, _, name = path.rpartition(":")
    if not module or not name:
        raise UserError(f"the path of a function is module:function or file.py:function; got {path!r}")
    if module.endswith(".py") and not Path(module).is_file():
        raise UserError(f"there is no file {module}, from which to take {name}")
    found: Any = import_file(Path(module)) if module.endswith(".py") else _imported(module)
    for part in name.split("."):
        names = [each for each in dir(found) if not each.startswith("_")]
        try:
            found = getattr(found, part)
        except AttributeError as error:
            close = nearest(part, names).partition("known:")[0]
            raise UserError(f"{module} has no {name!r}{'; ' if close else ''}{close}") from error
    if not callable(found):
        raise UserError(f"{path} is no function; got a {type(found).__name__}")
    return found


def _imported(module: str) -> ModuleType:
    try:
        with muted():
            return importlib.import_module(module)
    except BaseException as error:
        pass_on(error)
        missing = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        if not missing:
            raise UserError(f"module {module} fails to import: {reason(error)}") from error
        hint = f"; for a file write {module}.py:NAME" if Path(f"{module}.py").is_file() else ""
        raise UserError(f"there is no module {module!r} here{hint}") from error
