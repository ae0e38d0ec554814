"""The search path of imports, to which folders of plugin files are added."""

import sys


class PluginFolder(str):
    """An entry of the search path that estbench has added, told apart from those that plugins add."""

    __slots__ = ()


def add(folder: str) -> None:
    """Adds a folder if it is not there; last, so that it hides nothing."""
    if folder not in sys.path:
        sys.path.append(PluginFolder(folder))


def others() -> list[str]:
    """The entries that are not estbench's."""
    return [entry for entry in sys.path if not isinstance(entry, PluginFolder)]


def put_back(entries: list[str]) -> None:
    """Makes the path these entries, and after them estbench's own."""
    sys.path[:] = [*entries, *(entry for entry in sys.path if isinstance(entry, PluginFolder))]
