"""Code digests: a hash of a plugin's code and of all modules of estbench or of the user that it imports.

Nothing is imported for this. Digests are made from byte code, so comments, docstrings and layout do not count.
"""

import ast
import functools
import hashlib
import importlib.util
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import CodeType

_OURS = "estbench"
_LIBRARIES = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
_INSTALLED = {"site-packages", "dist-packages"}


@dataclass(frozen=True)
class _Import:
    """An import statement.

    Args:
        module: absolute name of the module.
        name: what is taken from it; empty for the module itself.
        bound: what it is called here.
        lazy: whether only type checkers see it.
    """

    module: str
    name: str = ""
    bound: str = ""
    lazy: bool = False


class _Module:
    """A module's source, read once.

    Args:
        name: absolute name.
        path: its file.
        package: name that relative imports start from.
    """

    def __init__(self, name: str, path: Path, package: str) -> None:
        self.name, self._path, self._package = name, path, package

    @cached_property
    def _source(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except OSError:
            return None

    @property
    def digest(self) -> str:
        """A hash of what the code does; of the bytes where it is no valid code."""
        return _hash([""]) if self._source is None else _code(self._source, self._package).digest

    @property
    def imports(self) -> tuple[_Import, ...]:
        """All its import statements, those within functions too."""
        return () if self._source is None else _code(self._source, self._package).imports


@dataclass(frozen=True)
class _SourceCode:
    """What a source does, as a hash, and its import statements."""

    digest: str
    imports: tuple[_Import, ...] = ()


# kept by what stands in the file: plans that are made one after another depend on much the same files
@functools.lru_cache(maxsize=4096)
def _code(source: bytes, package: str) -> _SourceCode:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return _SourceCode(_hash([source.decode(errors="replace")]))
    imports = tuple(_imports(tree, package, lazy=False))
    _drop_docstrings(tree)
    try:
        return _SourceCode(_hash(_meaning(compile(tree, "", "exec", dont_inherit=True))), imports)
    except (SyntaxError, ValueError):
        return _SourceCode(_hash([ast.dump(tree)]), imports)


def _imports(node: ast.AST, package: str, *, lazy: bool) -> Iterator[_Import]:
    if isinstance(node, ast.Import):
        yield from (_Import(alias.name, "", alias.asname or alias.name, lazy) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        module = _absolute(node, package)
        yield from (_Import(module, alias.name, alias.asname or alias.name, lazy) for alias in node.names)
    elif isinstance(node, ast.If) and _checks_types(node.test):
        for statement in node.body:
            yield from _imports(statement, package, lazy=True)
        for statement in node.orelse:
            yield from _imports(statement, package, lazy=lazy)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _imports(child, package, lazy=lazy)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    above = package.split(".")
    if node.level > len(above) or not package:
        return ""
    base = ".".join(above[: len(above) - node.level + 1])
    return ".".join(filter(None, (base, node.module)))


class Sources:
    """Digests of modules with all that they import; every file is read once."""

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}
        self._modules: dict[str, _Module | None] = {}
        self._direct: dict[tuple[str, str], list[_Module]] = {}

    def digest(self, modules: Iterable[tuple[str, Path | None]]) -> str:
        """One digest of modules, by name and file, with everything of ours or the user's that they import."""
        found: dict[str, _Module] = {}
        for name, path in modules:
            if path is not None:
                found |= self._closure(name, path)
        return _hash(f"{name} {found[name].digest}" for name in sorted(found))

    def outside(self, module: str) -> str:
        """A digest of a module or a file of others, by its name: of an installed package, its version."""
        if module.endswith(".py"):
            return self.digest([(Path(module).stem, Path(module))])
        spec = self._spec(module)
        if spec is None or not spec.origin or _foreign(Path(spec.origin)):
            top = module.partition(".")[0]
            names = packages_distributions().get(top, ())
            return _hash([module, *(f"{name} {version(name)}" for name in sorted(set(names)))])
        return self.digest([(module, Path(spec.origin))])

    def _closure(self, name: str, path: Path) -> dict[str, _Module]:
        top = name.partition(".")[0]
        start = self._modules.get(name) or _Module(name, path, name.rpartition(".")[0])
        found: dict[str, _Module] = {}
        waiting = [start, *self._packages(name, top)]
        while waiting:
            module = waiting.pop()
            if module.name not in found:
                found[module.name] = module
                waiting += self._imported(module, top)
        return found

    def _imported(self, module: _Module, top: str) -> list[_Module]:
        """The modules that a module imports directly, with the packages that they are in."""
        if (module.name, top) not in self._direct:
            statements = [statement for statement in module.imports if not statement.lazy]
            found = [each for statement in statements for each in self._targets(statement, top)]
            self._direct[module.name, top] = found
        return self._direct[module.name, top]

    def _targets(self, statement: _Import, top: str) -> list[_Module]:
        own = self._module(statement.module, top)
        found = self._packages(f"{statement.module}.", top)
        if own is None and not found:
            return []
        if statement.name and statement.name != "*":
            inner = self._module(f"{statement.module}.{statement.name}", top)
            if inner is not None:
                return [*found, inner]
        # names that a module gives only when asked for are declared for type checkers
        for lazy in own.imports if own else ():
            if lazy.lazy and statement.name in ("", "*", lazy.bound):
                found += self._targets(_Import(lazy.module, lazy.name), top)
        return found

    def _packages(self, name: str, top: str) -> list[_Module]:
        """The packages that a module is in, outermost first; of ``a.b.`` also ``a.b`` itself."""
        parts = name.split(".")
        modules = (self._module(".".join(parts[:depth]), top) for depth in range(1, len(parts)))
        return [module for module in modules if module is not None]

    def _module(self, name: str, top: str) -> _Module | None:
        """A module of ours or the user's; None for others, and for what does not exist."""
        spec = self._spec(name)
        if spec is None or not spec.origin or not spec.origin.endswith(".py"):
            return None
        path = Path(spec.origin)
        if name.partition(".")[0] not in (_OURS, top) and _foreign(path):
            return None
        if name not in self._modules:
            package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
            self._modules[name] = _Module(name, path, package)
        return self._modules[name]

    def _spec(self, name: str) -> ModuleSpec | None:
        if name not in self._specs:
            self._specs[name] = self._find(name)
        return self._specs[name]

    def _find(self, name: str) -> ModuleSpec | None:
        parent, _, _ = name.rpartition(".")
        try:
            # of our own packages some are mapped to folders elsewhere, and importing them costs nothing
            if not parent or name.partition(".")[0] == _OURS:
                return importlib.util.find_spec(name)
            above = self._spec(parent)
            places = above.submodule_search_locations if above else None
            return PathFinder.find_spec(name, places) if places is not None else None
        except (ImportError, ValueError, AttributeError):
            return None


def _foreign(path: Path) -> bool:
    """Whether a file belongs to Python or to an installed package."""
    resolved = path.resolve()
    return bool(_INSTALLED & set(resolved.parts)) or any(resolved.is_relative_to(folder) for folder in _LIBRARIES)


def _checks_types(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _drop_docstrings(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    """Of a definition and those within it; statements are enough to look at, as expressions hold no definitions."""
    if ast.get_docstring(node, clean=False) is not None:
        node.body = node.body[1:] or [ast.copy_location(ast.Pass(), node.body[0])]
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _drop_docstrings(statement)
        else:
            inner = (getattr(statement, name, ()) for name in ("body", "orelse", "finalbody", "handlers", "cases"))
            waiting += [each for block in inner if isinstance(block, list) for each in block]


def _meaning(code: CodeType) -> Iterator[str]:
    """Byte code with names and constants, without places in the text; sets in one order."""
    yield from (code.co_code.hex(), code.co_exceptiontable.hex(), code.co_name, str(code.co_flags))
    yield repr((code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount))
    yield repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _meaning(constant)
        else:
            yield repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)


def _hash(texts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
