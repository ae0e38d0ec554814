"""Loading: imports the class of a plugin from a file or an entry point."""

import hashlib
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from estbench.errors import UserError, reason
from estbench.plugins.installed import wrong_name
from estbench.runtime import search_path
from estbench.runtime.guard import muted, pass_on

# where each kind's abstract class lives, and the package that holds the built-in ones: first what a file named by the
# user may hold too, then what is found in folders and installed packages only
KINDS = {
    "estimator": ("estbench.core.estimator:Estimator", "estbench.estimators"),
    "task": ("estbench.core.task:Task", "estbench.tasks"),
    "measure": ("estbench.engine.base:Measure", "estbench.measures"),
}
PARTS = {
    "chart": ("estbench.report.charts.base:Chart", "estbench.report.charts"),
    "executor": ("estbench.execution.executors.base:Executor", "estbench.execution.executors"),
}


def home(kind: str) -> str:
    """The package that holds the built-in plugins of a kind."""
    return (KINDS | PARTS)[kind][1]


def base(kind: str) -> type[Any]:
    """The abstract class of a kind of plugins."""
    module, _, name = (KINDS | PARTS)[kind][0].partition(":")
    return getattr(importlib.import_module(module), name)


def kind_of(path: Path | str) -> str:
    """The kind of plugin that a file holds.

    Raises:
        UserError: it cannot be read or imported, or holds no plugin or several.
    """
    module = import_file(Path(path))
    kinds = [kind for kind in KINDS if concrete(module, kind)]
    if len(kinds) != 1:
        got = f"classes of {len(kinds)} kinds" if kinds else "none"
        raise UserError(f"{path} must define one class that extends Estimator, Task or Measure; got {got}")
    return kinds[0]


def existing(path: Path | None) -> Path:
    """The path of a plugin file that is there.

    Raises:
        UserError: there is no such file.
    """
    if path is None or not path.is_file():
        raise UserError(f"no such plugin file: {path}")
    return path


def import_file(path: Path | None) -> ModuleType:
    """Imports a file by its path, once; its output is discarded.

    Raises:
        UserError: there is none, or it fails to import.
    """
    path = existing(path)
    if problem := wrong_name(path.stem):
        raise UserError(f"plugin file {path} cannot be used under its name: {problem}")
    # the folder distinguishes files with the same name
    name = f"estbench_file_{path.stem}_{hashlib.sha256(str(path.resolve().parent).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise UserError(f"a plugin file must be Python source; got {path}")
    # a plugin may import modules from its own folder, like a script
    search_path.add(str(path.resolve().parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with muted():
            spec.loader.exec_module(module)
    except BaseException as error:
        pass_on(error)
        sys.modules.pop(name, None)
        raise UserError(f"plugin file {path} fails to import: {reason(error)}") from error
    return module


def concrete(module: ModuleType, kind: str) -> list[type[Any]]:
    """The concrete classes of a kind that a module defines."""
    abstract = base(kind)
    classes = [value for value in vars(module).values() if isinstance(value, type)]
    own = [cls for cls in classes if cls.__module__ == module.__name__ and issubclass(cls, abstract)]
    return [cls for cls in own if not inspect.isabstract(cls)]


def only_class(module: ModuleType, kind: str, origin: str) -> type[Any]:
    """The one concrete class of a kind that a module defines.

    Raises:
        UserError: there is none, or several.
    """
    classes = concrete(module, kind)
    if len(classes) != 1:
        names = ", ".join(cls.__name__ for cls in classes) or "none"
        raise UserError(
            f"a plugin must define exactly one concrete {base(kind).__name__}; "
            f"{module.__name__} ({origin}) defines {names}"
        )
    return classes[0]
