"""The registry: finds, describes and makes estimators, tasks, measures, charts and executors.

All kinds are found in the same way: as files in the built-in folders, as entry points of installed packages, and as
files named by the user. Finding and describing them reads their source and imports nothing.
"""

import functools
import importlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import estbench
from estbench.errors import UserError, nearest
from estbench.plugins import options
from estbench.plugins.installed import installed, locate, origin
from estbench.plugins.loading import KINDS, base, existing, home, kind_of
from estbench.plugins.options import ConstructionError
from estbench.plugins.plugin import BUILT_IN, Plugin
from estbench.plugins.spec import Spec
from estbench.runtime.isolation import DiedError, isolated

if TYPE_CHECKING:
    from estbench.core.estimator import Estimator
    from estbench.core.task import Task


Value = TypeVar("Value")


@dataclass(frozen=True)
class Catalogue:
    """The plugins of one kind by name, and what was wrong with others.

    Args:
        kind: estimator, task, measure, chart or executor.
        plugins: those that are listed, and that patterns match.
        problems: why others were left out.
        unlisted: those that stand for nothing without options, and are used by their full name only.
        faults: specifications whose plugins were tried and cannot be made, with the reason.
    """

    kind: str
    plugins: Mapping[str, Plugin]
    problems: Sequence[str] = ()
    unlisted: Mapping[str, Plugin] = field(default_factory=dict)
    faults: Mapping[Spec, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Plugin:
        if name not in self:
            raise UserError(f"unknown {self.kind} {name!r}; {nearest(name, self.plugins)}")
        return self.plugins[name] if name in self.plugins else self.unlisted[name]

    def __contains__(self, name: str) -> bool:
        return name in self.plugins or name in self.unlisted

    def make(self, spec: Spec) -> Any:
        """An instance of a plugin with these options.

        Raises:
            ConstructionError: its constructor fails, or is known to fail.
            UserError: there is no such plugin, or an option is unknown or has a value it cannot have.
        """
        if spec in self.faults:
            # what ended or stopped a process when it was tried is not tried again
            raise ConstructionError(self.faults[spec])
        return options.construct(self[spec.name].load(), spec)

    def having(self, faults: Mapping[Spec, str]) -> Self:
        """The same plugins, of which these are known not to be made."""
        return replace(self, faults={**self.faults, **faults}) if faults else self


@dataclass(frozen=True)
class Plugins:
    """All plugins that a request may use: discovered once, when the request begins, and passed down from there.

    It can be pickled: worker processes receive it and do not search for plugins themselves.

    Args:
        estimators: the estimators.
        tasks: the tasks.
        measures: the measures.
        files: the plugin files that the user named.
    """

    estimators: Catalogue
    tasks: Catalogue
    measures: Catalogue
    files: tuple[str, ...] = ()

    def __hash__(self) -> int:
        return hash(self.files)

    @classmethod
    def found(cls, files: Iterable[Path | str] = (), seconds: float | None = None) -> Self:
        """Discovers the plugins that are built in, installed, or in these files.

        Args:
            files: plugin files of the user.
            seconds: how long importing a file may take; None for no limit.

        Raises:
            UserError: a file is not there, fails to import, or holds no plugin or several.
        """
        paths = tuple(str(Path(file).resolve()) for file in files)
        estimators, tasks, measures = (discover(kind, paths, seconds) for kind in ("estimator", "task", "measure"))
        return cls(estimators, tasks, measures, paths)

    def __iter__(self) -> Iterator[Catalogue]:
        return iter((self.estimators, self.tasks, self.measures))

    def of(self, kind: str) -> Catalogue:
        """The plugins of one kind."""
        return next(catalogue for catalogue in self if catalogue.kind == kind)

    def foreign(self, used: Mapping[str, Iterable[str]]) -> bool:
        """Whether one of these plugins is not built in.

        Args:
            used: their names, by kind.
        """
        return any(self.of(kind)[name].foreign for kind, names in used.items() for name in names)

    def apart(self, function: Callable[[], Value]) -> Value:
        """Calls a function that uses plugins, in a separate process if third-party code is among them.

        Args:
            function: the function; its result must be picklable.

        Raises:
            UserError: the function raised it, or its process ended.
        """
        if not any(plugin.foreign for catalogue in self for plugin in catalogue.plugins.values()):
            return function()
        try:
            return isolated(function)
        except DiedError as error:
            raise UserError(f"a plugin could not be asked what it is: {error}") from error

    def having(self, faults: Mapping[str, Mapping[Spec, str]]) -> Self:
        """The same plugins, of which these are known not to be made, by kind."""
        estimators, tasks, measures = (each.having(faults.get(each.kind, {})) for each in self)
        return replace(self, estimators=estimators, tasks=tasks, measures=measures)

    @property
    def problems(self) -> list[str]:
        """Why plugins were left out, each reason once."""
        return list(dict.fromkeys(problem for catalogue in self for problem in catalogue.problems))

    def baseline(self, task: "Task") -> Spec:
        """The estimator that a task's own trainings use where a measure needs one.

        Raises:
            UserError: the task names none that is well formed.
        """
        return Spec.one(task.baseline)


def discover(kind: str, files: Iterable[Path | str] = (), seconds: float | None = None) -> Catalogue:
    """All plugins of a kind; of two with one name the first found is kept, and the other is a problem.

    Args:
        kind: ``estimator``, ``task`` or ``measure``.
        files: plugin files of the user.
        seconds: how long importing a file may take; None for no limit.

    Raises:
        UserError: a file is not there, fails to import, or holds no plugin or several; or the built-in plugins are
            those of another copy of estbench.

    Example:
        >>> "rloo" in discover("estimator").plugins
        True
    """
    found = _collected(kind, _built_in(kind), _files(kind, files, seconds))
    return replace(found, unlisted=_bridge()) if kind == "estimator" else found


def parts(kind: str) -> Catalogue:
    """All charts or executors: those of the framework's folder and those of installed packages.

    They are named as their files, with hyphens for underscores: ``bias_variance.py`` is ``bias-variance``.

    Raises:
        UserError: the built-in ones are those of another copy of estbench.
    """
    built_in = [replace(plugin, name=plugin.name.replace("_", "-")) for plugin in _built_in(kind)]
    return _collected(kind, built_in)


def _collected(kind: str, built_in: Iterable[Plugin], files: Iterable[Plugin] = ()) -> Catalogue:
    found: dict[str, Plugin] = {}
    points, problems = installed(f"estbench.{kind}s")
    foreign = [Plugin(p.name, kind, p.module, p.attr or "", locate(p), origin(p)) for p in points]
    for plugin in [*built_in, *foreign, *files]:
        if plugin.name in found:
            problems.append(
                f"two {kind}s are named {plugin.name!r}: {found[plugin.name].origin} is used, "
                f"{plugin.origin} is ignored"
            )
        else:
            found[plugin.name] = plugin
    return Catalogue(kind, dict(sorted(found.items())), tuple(problems))


def load_estimator(name: str, **options: Any) -> "Estimator":
    """An estimator by its name, for use in your own training loop.

    Args:
        name: a built-in or installed plugin, ``"rloo"``, or with options ``"rloo[samples=4]"``.
        options: its options.

    Raises:
        UserError: there is no such plugin, or an option is unknown or has a value it cannot have.

    Example:
        >>> load_estimator("rloo", samples=4).samples
        4
    """
    return _load("estimator", name, options)


def load_task(name: str, **options: Any) -> "Task":
    """A task by its name; as ``load_estimator``.

    Example:
        >>> load_task("toy", units=3).units
        3
    """
    return _load("task", name, options)


def _load(kind: str, name: str, options: Mapping[str, Any]) -> Any:
    spec = Spec.one(name)
    return discover(kind).make(spec.having(options))


def _bridge() -> dict[str, Plugin]:
    """The estimator that runs a function of others, and is therefore not counted as built in."""
    path = Path(estbench.__file__).parent / "bridges" / "function.py"
    return {"function": Plugin("function", "estimator", "estbench.bridges.function", "", path, "a bridge")}


def _built_in(kind: str) -> list[Plugin]:
    package = home(kind)
    top, room, *rest = package.split(".")
    # only the package above a room is imported, to find the room: a room's own may import much
    spec = importlib.util.find_spec(f"{top}.{room}")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    _refuse_other_copies(folders, f"{top}.{room}")
    paths = sorted(path for folder in folders for path in Path(folder, *rest).glob("[a-z]*.py") if path.stem != "base")
    return [Plugin(path.stem, kind, f"{package}.{path.stem}", "", path, BUILT_IN) for path in paths]


def _refuse_other_copies(folders: Iterable[str], package: str) -> None:
    """Refuses built-in plugins that are not of this framework's own copy.

    With one checkout installed and another on PYTHONPATH, Python takes the framework from one and the plugins from
    the other.

    Raises:
        UserError: they are of another copy.
    """
    own = Path(estbench.__file__).resolve().parent
    for folder in map(Path, folders):
        if folder.resolve().parent not in (own, own.parent):
            raise UserError(
                f"two copies of estbench are mixed: the framework is that of {own.parent}, but {package} is that of "
                f"{folder.resolve().parent}; take one of them off PYTHONPATH, or install the one that you mean"
            )


def _files(kind: str, files: Iterable[Path | str], seconds: float | None) -> list[Plugin]:
    paths = [Path(file).resolve() for file in files]
    return [
        Plugin(p.stem, kind, "", "", p, f"file {p}")
        for p in paths
        if _kind(p, p.stat().st_mtime_ns if p.is_file() else 0, seconds) == kind
    ]


@functools.lru_cache(maxsize=256)
def _kind(path: Path, written: int, seconds: float | None) -> str:  # noqa: ARG001  (a file that was written anew is looked at again)
    """The kind of plugin that a file holds; it is imported in a process of its own.

    Raises:
        UserError: it cannot be read or imported, or holds no plugin or several.
    """
    existing(path)
    for kind in KINDS:
        # imported here, once: in each child it would take seconds, and be counted as the plugin's time
        base(kind)
    try:
        return isolated(lambda: kind_of(path), seconds)
    except DiedError as error:
        raise UserError(f"plugin file {path} cannot be imported: {error}") from error
