"""The caller's own classes as plugins: their source is written to a file, which the workers of executors can import."""

import copy
import inspect
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from estbench.api.own_source import SourceText
from estbench.bridges.described import NAME, Bridge, described, importable
from estbench.bridges.losses import SurrogateFunction
from estbench.bridges.samples import PathwiseFunction
from estbench.core.making import made_with
from estbench.errors import UserError, reason
from estbench.plugins.loading import base
from estbench.plugins.options import options_of
from estbench.plugins.registry import Plugins
from estbench.plugins.spec import Spec
from estbench.runtime.guard import pass_on
from estbench.store.files import digest, make_folder, write_atomically

_OPTION = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Own:
    """A class or an instance of the caller, as a request can name it.

    Args:
        spec: its name and options.
        file: the plugin file with its source; None for a class that is built in or installed.
    """

    spec: Spec
    file: Path | None


def known_plugins(files: Iterable[Path | str]) -> Plugins:
    """The plugins that exist, with a warning for each one that is left out."""
    plugins = Plugins.found(files)
    for problem in plugins.problems:
        warnings.warn(problem, UserWarning, stacklevel=4)
    return plugins


def named(plugin: Any, kind: str, plugins: Plugins, folder: Path) -> Own:
    """Gives a class or an instance a name that a request can use.

    Args:
        plugin: a class that extends ``Estimator``, ``Task`` or ``Measure``, an instance of one, or a function without
            arguments that makes one.
        kind: ``estimator``, ``task`` or ``measure``.
        plugins: the plugins that are built in or installed.
        folder: the folder in which source files are written.

    Raises:
        UserError: it is not of this kind, its source is not available, or its options cannot be read.
    """
    plugin = _made(plugin, kind)
    if kind == "estimator" and isinstance(plugin, (PathwiseFunction, SurrogateFunction)):
        return Own(_bridged(plugin, folder), None)
    cls = plugin if isinstance(plugin, type) else type(plugin)
    if not issubclass(cls, base(kind)) or inspect.isabstract(cls):
        raise UserError(
            f"expected a name, a Spec, or a concrete {base(kind).__name__}, a class or an instance; got {plugin!r:.80}"
        )
    options = {} if isinstance(plugin, type) else _options(plugin)
    catalogue = plugins.of(kind)
    for found in catalogue.plugins.values():
        if found.module and found.module == cls.__module__:
            return Own(Spec(found.name, options), None)
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()
    if name in catalogue.plugins:
        raise UserError(
            f"your class {cls.__name__} would be called {name}, as the {kind} that is there already; rename it"
        )
    return Own(Spec(name, options), _kept(SourceText.of(cls), name, folder))


def _bridged(bridge: Bridge, folder: Path) -> Spec:
    """The estimator that runs the function of a bridge, which is in a module or a file that workers can import."""
    function, options = described(bridge)
    path = importable(function)
    if not path:
        name = str(getattr(function, "__name__", ""))
        if not name.isidentifier():
            raise UserError(
                f"workers cannot import {function!r:.80}: give the bridge a function that is defined with a name"
            )
        path = f"{_kept(SourceText.of(function), 'functions', folder).resolve()}:{name}"
    return Spec(NAME, {"path": path, **options})


def _kept(source: str, name: str, folder: Path) -> Path:
    """A file with this source."""
    place = folder / digest(source.encode())[:16]
    make_folder(place)
    file = place / f"{name}.py"
    if not file.is_file():
        write_atomically(file, source.encode())
    return file


def maker(plugin: Any) -> Callable[[], Any]:
    """A callable that makes an estimator or a task: a class or a function; for an instance, its class with its options.

    Raises:
        UserError: it cannot make a plugin, or the options of an instance cannot be read.
    """
    if isinstance(plugin, (PathwiseFunction, SurrogateFunction)):
        return partial(copy.deepcopy, plugin)
    if isinstance(plugin, (base("estimator"), base("task"))):
        arguments = made_with(plugin)
        return partial(cast("Callable[..., Any]", type(plugin)), *arguments.values, **arguments.named)
    if not callable(plugin):
        raise UserError(f"expected a name, a Spec, or an estimator, a task, or what makes one; got {plugin!r:.80}")
    return cast("Callable[[], Any]", plugin)


def _made(plugin: Any, kind: str) -> Any:
    """A class or an instance as it is; for a function without arguments, the result of calling it.

    Raises:
        UserError: the function raises.
    """
    if isinstance(plugin, (type, base(kind))) or not callable(plugin):
        return plugin
    try:
        return plugin()
    except BaseException as error:
        pass_on(error)
        raise UserError(f"{plugin!r:.80}, which should make one {kind}, raises {reason(error)}") from error


def _options(instance: Any) -> Mapping[str, Any]:
    """The options with which an instance was made.

    Raises:
        UserError: the value of an option cannot be written in a name with options, or was changed since.
    """
    cls, arguments = type(instance), made_with(instance)
    known = options_of(cls)
    given = inspect.signature(cls).bind(*arguments.values, **arguments.named).arguments
    found = {name: _plain(value) for name, value in given.items()}
    for name, value in found.items():
        if name not in known or not _writable(value):
            raise UserError(
                f"the option {name!r} of an instance of {cls.__name__} cannot be written: it must be a number, a text "
                f"or a tuple of them; give the class, or its name with options, instead; got {value!r:.80}"
            )
    for name in known:
        now = vars(instance).get(name)
        if _writable(now) and name in found and now != found[name] and now != _fresh(instance, name):
            raise UserError(
                f"{name} of an instance of {cls.__name__} is not what it was made with: make another one with "
                f"{name}={now!r:.40}"
            )
    return found


def _plain(value: Any) -> Any:
    """Converts numbers of NumPy or torch to Python's, and lists to tuples."""
    from torch import Tensor  # noqa: PLC0415  (slow)

    if isinstance(value, (list, tuple)):
        return tuple(map(_plain, value))
    return value.item() if isinstance(value, np.generic) or (isinstance(value, Tensor) and not value.ndim) else value


def _writable(value: Any) -> bool:
    return isinstance(value, _OPTION) or (isinstance(value, tuple) and all(isinstance(each, _OPTION) for each in value))


def _fresh(instance: Any, name: str) -> Any:
    """The attribute of a second instance that is made with the same arguments."""
    arguments = made_with(instance)
    return vars(type(instance)(*arguments.values, **arguments.named)).get(name)
