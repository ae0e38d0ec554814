"""Entry points of installed packages; those that cannot be read are reported and left out."""

import functools
import importlib.util
import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distributions, entry_points, requires
from pathlib import Path

from estbench.errors import plain, reason, shorten

# characters that have another meaning in a specification, or names that could not be found in a table
_MEANT_OTHERWISE = set("[]()=,*?'\"")
_LONGEST_NAME = 100


def installed(group: str) -> tuple[list[EntryPoint], list[str]]:
    """The entry points of a group that can be used, and a line for each that cannot, or package that cannot be read."""
    usable, problems = _read(group, tuple(map(str, sys.path)), tuple(map(_changed, sys.path)))
    return list(usable), list(problems)


def _changed(folder: str) -> int:
    """When a folder of Python's path last changed, in nanoseconds; packages come and go as entries of it."""
    try:
        return Path(folder).stat().st_mtime_ns
    except (OSError, ValueError):
        return 0


# kept while no package comes or goes: whoever loads an estimator by name asks, and there may be hundreds of packages
@functools.lru_cache(maxsize=32)
def _read(group: str, _path: tuple[str, ...], _changed: tuple[int, ...]) -> tuple[tuple[EntryPoint, ...], list[str]]:
    problems: list[str] = []
    try:
        points = list(entry_points(group=group))
    except Exception:  # noqa: BLE001  (one package's files spoil the list of all)
        points = list(_singly(group, problems))
    usable = []
    for point in points:
        if wrong := _wrong(point):
            problems.append(f"entry point {shorten(plain(point.name), 60)!r} of {origin(point)} is left out: {wrong}")
        else:
            usable.append(point)
    return tuple(usable), problems


def _singly(group: str, problems: list[str]) -> Iterator[EntryPoint]:
    """The entry points of a group, package by package."""
    seen: set[str] = set()
    for distribution in distributions():
        name = _name(distribution)
        if name in seen:
            continue
        seen.add(name)
        try:
            yield from [point for point in distribution.entry_points if point.group == group]
        except Exception as error:  # noqa: BLE001  (files may hold anything)
            problems.append(f"the entry points of {name} cannot be read and are left out: {reason(error)}")


def _name(distribution: Distribution) -> str:
    try:
        return f"package {plain(distribution.metadata['Name'])}"
    except Exception:  # noqa: BLE001  (files may hold anything)
        return "an installed package"


def _wrong(point: EntryPoint) -> str:
    """Why an entry point cannot be used; empty if it can, as far as can be seen without importing it."""
    if problem := wrong_name(point.name):
        return problem
    match = EntryPoint.pattern.match(point.value)
    parts = [part for text in match.group("module", "attr") if text for part in text.split(".")] if match else []
    if not match or not all(map(str.isidentifier, parts)):
        return f"its value is module:class; got {shorten(plain(point.value), 60)!r}"
    return ""


def wrong_name(name: str) -> str:
    """Why a plugin cannot have this name; empty if it can."""
    if not name or not name.isprintable() or any(c.isspace() or c in _MEANT_OTHERWISE for c in name):
        return "a name has letters, digits, and signs that mean nothing in a specification"
    return f"a name has at most {_LONGEST_NAME} characters" if len(name) > _LONGEST_NAME else ""


def origin(point: EntryPoint) -> str:
    """The name of the package that an entry point comes from, for messages."""
    return _name(point.dist) if point.dist else "an installed package"


def locate(point: EntryPoint) -> Path | None:
    """The source of an entry point's module, found without importing its package."""
    top, *rest = point.module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except Exception:  # noqa: BLE001  (what finds modules may be a stranger's)
        return None
    if not spec or not rest:
        return Path(spec.origin) if spec and spec.origin else None
    places = [Path(folder, *rest) for folder in spec.submodule_search_locations or ()]
    sources = [source for p in places for source in (p.with_suffix(".py"), p / "__init__.py")]
    return next((source for source in sources if source.exists()), None)


def missing_package(error: BaseException) -> str:
    """A message that names the missing package of a failed import and how to install it; empty for other errors.

    Packages that only some users need are extras of estbench, named in its metadata.
    """
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    package = error.name.partition(".")[0]
    try:
        wanted = requires("estbench") or []
    except PackageNotFoundError:
        # a checkout that is not installed
        wanted = []
    pattern = re.compile(rf"{re.escape(package)}\b.*extra == ['\"]([\w-]+)['\"]", re.IGNORECASE)
    extra = next((match[1] for line in wanted if (match := pattern.match(line))), "")
    return f"needs {package}, which is not installed: pip install 'estbench[{extra}]'" if extra else ""
