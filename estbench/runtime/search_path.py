"""The search path of imports, to which folders of plugin files are added."""

import sys


class PluginFolder(str):
    """An entry of the search path that estbench has added, as opposed to those that plugins add."""

    __slots__ = ()


def add(folder: str) -> None:
    """Adds a folder if it is missing; at the end, so that it hides no other module."""
    if folder not in sys.path:
        sys.path.append(PluginFolder(folder))


def others() -> list[str]:
    """The entries that estbench has not added."""
    return [entry for entry in sys.path if not isinstance(entry, PluginFolder)]


def put_back(entries: list[str]) -> None:
    """Sets the path to these entries, followed by those that estbench has added."""
    sys.path[:] = [*entries, *(entry for entry in sys.path if isinstance(entry, PluginFolder))]
