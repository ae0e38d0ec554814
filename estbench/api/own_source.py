"""The source of a class of the caller's own, with all that it uses, as a module that workers can import."""

import ast
import builtins
import dataclasses
import inspect
import linecache
import math
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any

from estbench.errors import UserError

# of these a dataclass makes some, which have no source
_MADE = frozenset(vars(dataclasses.make_dataclass("Made", ["of"], order=True, frozen=True)))


class SourceText:
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
        text = _text(name, value)
        self._definitions[name] = ""  # it may use itself
        names = _names(text)
        for used, known in _environment(value).items():
            if used in names and used != name:
                self._use(used, known, name)
        del self._definitions[name]
        self._definitions[name] = text

    def _use(self, name: str, value: Any, user: str) -> None:
        given = name.startswith("__") or value is vars(builtins).get(name, self)
        if given or name in self._imports or name in self._definitions:
            return
        home, own = getattr(value, "__module__", None), getattr(value, "__name__", None)
        if isinstance(value, ModuleType):
            self._imports[name] = f"import {value.__name__} as {name}"
        elif home == self._module and isinstance(inspect.unwrap(value), (type, FunctionType)):
            if own in (name, "<lambda>"):
                self._define(name, value)
            else:  # another name for it
                self._use(str(own), value, user)
                self._definitions[name] = f"{name} = {own}"
        elif home and home != self._module and own and getattr(value, "__qualname__", "") == own:
            self._imports[name] = f"from {home} import {own} as {name}"
        elif _literal(value):
            self._definitions[name] = f"{name} = {value!r}"
        elif (made_in := type(value).__module__) in ("typing", "torch") and re.fullmatch(
            r"[\w.]+(\[[\w., \[\]]*\])?", repr(value)
        ):
            self._imports[made_in] = f"import {made_in}"
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


def _functions(value: Any) -> Iterator[tuple[str, FunctionType]]:
    """The functions of a class by name, or a function; without those that a dataclass makes."""
    if not isinstance(value, type):
        yield value.__name__, inspect.unwrap(value)
        return
    made = _MADE if dataclasses.is_dataclass(value) else ()
    for name, member in vars(value).items():
        inner = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
        inner = inspect.unwrap(inner)
        if isinstance(inner, FunctionType) and not (name in made and inner.__code__.co_filename == "<string>"):
            yield name, inner


def _environment(value: Any) -> Mapping[str, Any]:
    """The names that a function or a class may look up, outside itself."""
    known = dict(vars(sys.modules[value.__module__])) if value.__module__ in sys.modules else {}
    if isinstance(value, type):  # also bases that were defined inside a function
        known |= {each.__name__: each for each in reversed(value.__mro__[1:-1])}
    for _, function in _functions(value):
        known |= function.__globals__
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        for name, cell in cells:
            try:
                known[name] = cell.cell_contents
            except ValueError:  # not yet bound
                continue
    return {name: each for name, each in known.items() if name != "__class__"}


def _text(name: str, value: Any) -> str:
    """The source of a function or class, also of one that was defined in a cell of a notebook.

    Args:
        name: what it is called where it is used; of a function without a name, what it was assigned to.
        value: the function or the class.

    Raises:
        UserError: it cannot be had, or is not that of this class.
    """
    functions = dict(_functions(value))
    for function in functions.values():
        # inspect finds a class by its module's file, which a notebook does not have
        file = function.__code__.co_filename
        linecache.checkcache(file)
        if found := _Definition.find("".join(linecache.getlines(file)), name, function.__code__.co_firstlineno):
            return found.of(value, functions, file)
    # a class without functions, by its name alone
    for code in _texts(value) if not functions else ():
        if found := _Definition.find(code, name, None):
            return found.of(value)
    raise UserError(
        f"the source of {name} cannot be had, as it was not read from a file or a notebook's cell: write it to a file, "
        "and name the file in plugins="
    )


def _texts(cls: type[Any]) -> Iterator[str]:
    """The texts that may define a class: cells of a notebook, the last one first, and the file of its module."""
    # what Python reads from no file, as a notebook's cells, has no time of change
    cells = [entry[2] for entry in linecache.cache.values() if len(entry) == 4 and entry[1] is None]
    yield from ("".join(lines) for lines in reversed(cells))
    if file := getattr(sys.modules.get(cls.__module__), "__file__", None):
        linecache.checkcache(file)
        yield "".join(linecache.getlines(file))


@dataclasses.dataclass(frozen=True)
class _Definition:
    """The definition of a class or a function in a text.

    Args:
        text: its lines.
        node: its syntax tree.
        first: its first line, that of a decorator if it has one.
    """

    text: str
    node: ast.ClassDef | ast.FunctionDef | ast.Assign
    first: int

    @classmethod
    def find(cls, code: str, name: str, line: int | None) -> "_Definition | None":
        """The definition of this name, around a line if one is given; none if there is none.

        A function without a name is defined by the assignment of it.
        """
        code = textwrap.dedent(code)
        try:
            tree = ast.parse(code)
        except SyntaxError:
            return None
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                names, decorators = {node.name}, node.decorator_list
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
                names, decorators = _targets(node), []
            else:
                continue
            first = min([node.lineno, *(each.lineno for each in decorators)])
            if names == {name} and (line is None or first <= line <= (node.end_lineno or first)):
                return cls(textwrap.dedent("\n".join(code.splitlines()[first - 1 : node.end_lineno])), node, first)
        return None

    def of(self, value: Any, functions: Mapping[str, FunctionType] = MappingProxyType({}), file: str = "") -> str:
        """The text, if it is that of this class or function as it is now.

        Args:
            value: the class or function.
            functions: those of a class, by name.
            file: where the text stands.

        Raises:
            UserError: the class was changed after it was defined, or this is another one of the same name.
        """
        node = self.node
        if isinstance(node, ast.ClassDef):
            changed = [*_other_functions(node, self.first, functions, file, value.__module__)]
            changed += _other_literals(node, vars(value))
            if changed:
                raise UserError(
                    f"the source of {value.__name__} cannot be had, as its {changed[0]} is not the one in the text "
                    "that defines the class: write the class to a file as it is now, and name the file in plugins="
                )
        return self.text


def _other_functions(
    node: ast.ClassDef, first: int, functions: Mapping[str, FunctionType], file: str, module: str
) -> Iterator[str]:
    """The functions of a class that its definition does not hold: it was given them later."""
    lines = range(first, (node.end_lineno or first) + 1)
    written = {each.name: each for each in node.body if isinstance(each, ast.FunctionDef)}
    bound = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} | written.keys()
    for name, function in functions.items():
        code = function.__code__
        inside = code.co_filename == file and code.co_firstlineno in lines
        # what a decorator made may stand elsewhere
        plain = name in written and not written[name].decorator_list
        if not inside and (plain or (name not in bound and function.__module__ == module)):
            yield name


def _other_literals(node: ast.ClassDef, now: Mapping[str, Any]) -> Iterator[str]:
    """The attributes of a class that have another plain value now than in its definition."""
    written = {
        name: each.value.value
        for each in node.body
        if isinstance(each, ast.Assign) and isinstance(each.value, ast.Constant)
        for name in _targets(each)
    }
    for name, value in written.items():
        if name in now and _literal(now[name]) and now[name] != value:
            yield name


def _targets(node: ast.Assign) -> set[str]:
    return {target.id for target in node.targets if isinstance(target, ast.Name)}


def _names(text: str) -> set[str]:
    """The names that a source looks up, those in quoted annotations too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            found.add(node.value)
    return found
