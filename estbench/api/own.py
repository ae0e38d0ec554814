"""Classes of the caller's own as plugins: their source becomes a file, which every executor's workers can import."""

import ast
import builtins
import copy
import inspect
import linecache
import math
import re
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, cast

from estbench.bridges.described import NAME, Bridge, described, importable
from estbench.bridges.losses import SurrogateFunction
from estbench.bridges.samples import PathwiseFunction
from estbench.errors import UserError
from estbench.plugins.loading import base
from estbench.plugins.options import options_of
from estbench.plugins.registry import Plugins
from estbench.plugins.spec import Spec
from estbench.store.files import digest, make_folder, write_atomically

_OPTION = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Own:
    """A class or an instance of the caller's, as a request names it.

    Args:
        spec: its name and options.
        file: the plugin file that holds its source; None for one that is built in or installed.
    """

    spec: Spec
    file: Path | None


def known_plugins(files: Iterable[Path | str]) -> Plugins:
    """What there is, with a warning for each plugin that is left out."""
    plugins = Plugins.found(files)
    for problem in plugins.problems:
        warnings.warn(problem, UserWarning, stacklevel=4)
    return plugins


def named(plugin: Any, kind: str, plugins: Plugins, folder: Path) -> Own:
    """A class or an instance by a name that a request can use.

    Args:
        plugin: a class that extends ``Estimator``, ``Task`` or ``Measure``, or an instance of one.
        kind: ``estimator``, ``task`` or ``measure``.
        plugins: what is built in or installed.
        folder: where files of source are kept.

    Raises:
        UserError: it is nothing of this kind, its source cannot be had, or its options cannot be read.
    """
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
    return Own(Spec(name, options), _kept(_Source.of(cls), name, folder))


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
        path = f"{_kept(_Source.of(function), 'functions', folder).resolve()}:{name}"
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
    """What makes an estimator or a task: a class or a function as it is, for an instance another with its options.

    Raises:
        UserError: it is nothing that could make one, or the options of an instance cannot be read.
    """
    if isinstance(plugin, (PathwiseFunction, SurrogateFunction)):
        return partial(copy.deepcopy, plugin)
    if isinstance(plugin, (base("estimator"), base("task"))):
        return partial(cast("Callable[..., Any]", type(plugin)), **_options(plugin))
    if not callable(plugin):
        raise UserError(f"expected a name, a Spec, or an estimator, a task, or what makes one; got {plugin!r:.80}")
    return cast("Callable[[], Any]", plugin)


def _options(instance: Any) -> dict[str, Any]:
    """The options that an instance was made with, as its attributes tell them.

    Raises:
        UserError: an option is no attribute, or its value is none that an option can have.
    """
    found = {}
    for name, parameter in options_of(type(instance)).items():
        value = getattr(instance, name, parameter.empty)
        if isinstance(value, _OPTION) or (
            isinstance(value, (tuple, list)) and all(isinstance(v, _OPTION) for v in value)
        ):
            found[name] = value
            continue
        raise UserError(
            f"the option {name!r} of an instance of {type(instance).__name__} cannot be read: it must be an attribute "
            f"of that name with a number, a text or a tuple of them; give the class, or its name with options, instead"
        )
    return found


class _Source:
    """The source of a class with all that it uses, as a module of its own.

    Modules, and what modules other than its own define, are imported; functions, classes and constants that stand
    beside the class are taken along.
    """

    def __init__(self, wanted: type[Any] | Callable[..., Any]) -> None:
        self._module = wanted.__module__
        self._imports: dict[str, str] = {}
        self._definitions: dict[str, str] = {}

    @classmethod
    def of(cls, wanted: type[Any] | Callable[..., Any]) -> str:
        """The text of the module.

        Raises:
            UserError: a source cannot be had, or a value has none.
        """
        source = cls(wanted)
        source._define(wanted.__name__, wanted)
        for name, text in source._definitions.items():
            if name != wanted.__name__ and text.startswith(("class ", "@")):
                # a file holds one plugin; what that extends or uses is none of its own
                source._definitions[name] = f'{text}\n\n\n{name}.__module__ += ".own"'
        doc = (inspect.getdoc(wanted) or wanted.__name__).partition("\n")[0].replace("\\", "\\\\").replace('"', "'")
        parts = [f'"""{doc}"""', "\n".join(sorted(source._imports.values())), *source._definitions.values()]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _define(self, name: str, value: Any) -> None:
        """Takes a function or class along, after what it uses."""
        text = _text(value)
        self._definitions[name] = ""  # it may use itself
        names = _names(text)
        for used, known in _environment(value).items():
            if used in names and used != name:
                self._use(used, known, name)
        del self._definitions[name]
        self._definitions[name] = text

    def _use(self, name: str, value: Any, user: str) -> None:
        if name in self._imports or name in self._definitions or name in vars(builtins):
            return
        if isinstance(value, ModuleType):
            self._imports[name] = f"import {value.__name__} as {name}"
        elif isinstance(value, (type, FunctionType)) and value.__module__ == self._module:
            self._define(name, value)
        elif (home := getattr(value, "__module__", None)) and getattr(value, "__qualname__", "") == getattr(
            value, "__name__", None
        ):
            self._imports[name] = f"from {home} import {value.__name__} as {name}"
        elif _literal(value):
            self._definitions[name] = f"{name} = {value!r}"
        elif (home := getattr(type(value), "__module__", "")) in ("typing", "torch") and re.fullmatch(
            r"[\w.]+(\[[\w., \[\]]*\])?", repr(value)
        ):
            self._imports[home] = f"import {home}"
            self._definitions[name] = f"{name} = {value!r}"
        else:
            raise UserError(
                f"{user} uses {name}, which is no import, function, class or literal constant, so that its source "
                f"cannot be taken along: write both to a file and name it in plugins=; got {type(value).__name__}"
            )


def _literal(value: Any) -> bool:
    if isinstance(value, (tuple, list, set, frozenset)):
        return all(map(_literal, value))
    if isinstance(value, dict):
        return all(_literal(key) and _literal(each) for key, each in value.items())
    return isinstance(value, (bool, int, str, bytes, type(None))) or (isinstance(value, float) and math.isfinite(value))


def _functions(value: Any) -> Iterator[FunctionType]:
    """The functions of a class, or a function."""
    members = vars(value).values() if isinstance(value, type) else (value,)
    for member in members:
        inner = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
        if isinstance(inner, FunctionType):
            yield inspect.unwrap(inner)


def _environment(value: Any) -> dict[str, Any]:
    """The names that a function or a class may look up, outside itself."""
    known = dict(vars(sys.modules[value.__module__])) if value.__module__ in sys.modules else {}
    if isinstance(value, type):  # also bases that were defined inside a function
        known |= {each.__name__: each for each in reversed(value.__mro__[1:-1])}
    for function in _functions(value):
        known |= function.__globals__
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        for name, cell in cells:
            try:
                known[name] = cell.cell_contents
            except ValueError:  # not yet bound
                continue
    return {name: each for name, each in known.items() if name != "__class__"}


def _text(value: Any) -> str:
    """The source of a function or class, also of one that was defined in a cell of a notebook.

    Raises:
        UserError: it cannot be had.
    """
    for function in _functions(value):
        # inspect finds a class by its module's file, which a notebook does not have
        code = textwrap.dedent("".join(linecache.getlines(function.__code__.co_filename)))
        if found := _definition(code, value.__name__, function.__code__.co_firstlineno):
            return found
    if isinstance(value, type) and (found := _in_cells(value)):
        return found
    try:
        return textwrap.dedent(inspect.getsource(value))
    except (OSError, TypeError) as error:
        raise UserError(
            f"the source of {value.__name__} cannot be had, as it was not read from a file or a notebook's cell: write "
            "it to a file, and name the file in plugins="
        ) from error


def _in_cells(cls: type[Any]) -> str:
    """The source of a class without methods of its own, from the last cell that defines it; empty if there is none."""
    # what Python reads from no file, as a notebook's cells, has no time of change
    cells = [entry[2] for entry in linecache.cache.values() if len(entry) == 4 and entry[1] is None]
    for lines in reversed(cells):
        if found := _definition("".join(lines), cls.__name__, None):
            return found
    return ""


def _definition(code: str, name: str, line: int | None) -> str:
    """The definition of this name, around a line if one is given; empty if there is none."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return ""
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if line is None or first <= line <= (node.end_lineno or first):
                return textwrap.dedent("\n".join(code.splitlines()[first - 1 : node.end_lineno]))
    return ""


def _names(text: str) -> set[str]:
    """The names that a source looks up, those in quoted annotations too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            found.add(node.value)
    return found
