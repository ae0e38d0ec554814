"""What a call of a function asks for, in the terms of the commands."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from estbench.api.own import named
from estbench.plugins.registry import Plugins
from estbench.plugins.spec import Spec, split
from estbench.store.files import check_folder

if TYPE_CHECKING:
    from estbench.workflows.request import Request

# a name with options, or a class or an instance of the caller's own; one or several
Wanted: TypeAlias = Any
STORE = Path(".estbench")


@dataclass(frozen=True)
class Asked:
    """What a call asks for, in the terms of the command.

    Args:
        suite: its file or name.
        overrides: values that replace the suite's.
        plugins: what there is, the caller's own classes among it.
        store: folder that keeps finished cells.
    """

    suite: str
    overrides: dict[str, Any]
    plugins: Plugins
    store: Path

    def request(self, **how: Any) -> "Request":
        """The request of the command."""
        from estbench.workflows.request import Request  # noqa: PLC0415  (imports torch)

        check_folder(self.store)
        return Request(self.suite, self.overrides, store=self.store, command="estbench.compare(...)", **how)


def asked(given: Mapping[str, Any], suite: str | Path, files: Iterable[Path | str], store: Path) -> Asked:
    """What a call with these arguments asks for; those that are None are not given."""
    known, own = found_plugins(files), store / "own"
    overrides, more = {}, list(files)
    for key, value in given.items():
        if value is None:
            continue
        if key in ("tasks", "estimators", "measures"):
            overrides[key], found = _patterns(value, key.removesuffix("s"), known, own)
            more += found
        else:
            overrides[key] = _plain(key, value)
    return Asked(
        str(suite), overrides, found_plugins(dict.fromkeys(more)) if len(more) > len(known.files) else known, store
    )


def _patterns(value: Wanted, kind: str, plugins: Plugins, own: Path) -> tuple[list[str], list[Path]]:
    """What a request may name, and the files that hold the caller's own."""
    patterns: list[str] = []
    files: list[Path] = []
    for each in value if isinstance(value, (list, tuple, set, frozenset)) else [value]:
        if isinstance(each, str):
            patterns += split(each)
        elif isinstance(each, Spec):
            patterns.append(str(each))
        else:
            found = named(each, kind, plugins, own)
            patterns.append(str(found.spec))
            files += [found.file] if found.file else []
    return patterns, files


def _plain(key: str, value: Any) -> Any:
    """A value as a suite takes it."""
    if key == "tune":
        return (
            dict(value)
            if isinstance(value, Mapping)
            else {"options": [value] if isinstance(value, str) else list(value)}
        )
    return list(value) if key == "seeds" and not isinstance(value, int) else value


def spec_of(executor: str | Spec) -> Spec:
    """The specification of an executor."""
    return Spec.one(executor) if isinstance(executor, str) else executor


def found_plugins(files: Iterable[Path | str]) -> Plugins:
    """What there is, with a warning for each plugin that is left out."""
    plugins = Plugins.found(files)
    for problem in plugins.problems:
        warnings.warn(problem, UserWarning, stacklevel=4)
    return plugins
