"""What a run keeps of code of others, so that it can be repeated elsewhere: sources of files, versions of packages."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

from estbench.plugins.plugin import Plugin


@dataclass(frozen=True)
class RecordedCode:
    """What is kept.

    Args:
        sources: the text of each file of a plugin file's folder that the plugin imports, itself first, by
            ``KIND/PLUGIN`` and the file's path in that folder.
        versions: of packages that plugins come from and import, by name.
    """

    sources: dict[str, dict[str, str]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def recorded_code(plugins: Iterable[Plugin]) -> RecordedCode:
    """What is to be kept of plugins; nothing is imported to find out.

    Args:
        plugins: those that are not built in.
    """
    sources: dict[str, dict[str, str]] = {}
    modules: set[str] = set()
    for plugin in plugins:
        if plugin.path is None or plugin.module:
            modules |= {plugin.module.partition(".")[0], *_imports(_text(plugin.path) if plugin.path else "")}
            continue
        own = sources[f"{plugin.kind}/{plugin.name}"] = {}
        modules |= set(_gathered(plugin.path, plugin.path.parent, own))
    return RecordedCode(sources, dict(sorted(_versions(modules))))


def _gathered(file: Path, folder: Path, found: dict[str, str]) -> Iterator[str]:
    """Adds a file and those beside it that it imports; yields the modules that come from elsewhere."""
    name = file.relative_to(folder).as_posix()
    if name in found:
        return
    found[name] = _text(file)
    for module in _imports(found[name]):
        beside = [folder / f"{module}.py", *sorted((folder / module).glob("**/*.py"))]
        files = [each for each in beside if each.is_file()]
        for each in files:
            yield from _gathered(each, folder, found)
        if not files:
            yield module


def _imports(text: str) -> list[str]:
    """The top packages that a source imports."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError):
        return []
    whole = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    parts = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return list(dict.fromkeys(name.partition(".")[0] for name in (*whole, *parts) if name))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _versions(modules: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The packages that modules come from, with their versions."""
    wanted = set(modules)
    if not wanted:
        return
    try:
        homes = packages_distributions()
    except Exception:  # noqa: BLE001  (files of installed packages may hold anything)
        return
    for name in {name for module in wanted for name in homes.get(module, ())}:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue
