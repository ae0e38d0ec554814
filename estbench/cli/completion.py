"""What a shell completes: names of plugins, suites and choices; nothing is imported for it, as it must be fast."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

import typer

from estbench.errors import UserError
from estbench.plugins import registry

Complete: TypeAlias = Callable[[typer.Context, str], list[str]]


def plugins(*kinds: str) -> Complete:
    """Completes the last name of a comma-separated list of plugins, those of ``-e`` files among them."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        files = ctx.params.get("plugin") or ()
        return _continued(incomplete, (name for kind in kinds for name in _names(kind, files)))

    return complete


def choices(*names: str) -> Complete:
    """Completes one of these names."""

    def complete(_ctx: typer.Context, incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete


def parts(kind: str, *more: str) -> Complete:
    """Completes the name of a kind of figures or an executor."""

    def complete(_ctx: typer.Context, incomplete: str) -> list[str]:
        return [name for name in (*more, *registry.parts(kind).plugins) if name.startswith(incomplete)]

    return complete


def suites(_ctx: typer.Context, incomplete: str) -> list[str]:
    """Completes the name of a suite that is shipped, or the path of a TOML file."""
    from estbench.planning.suite import FOLDER  # noqa: PLC0415  (slow)

    shipped = sorted(path.stem for path in FOLDER.glob("*.toml"))
    folder = Path(incomplete if incomplete.endswith("/") else Path(incomplete).parent)
    files = sorted(str(path) for path in folder.glob("*.toml"))
    return [name for name in [*shipped, *files] if name.startswith(incomplete)]


def _names(kind: str, files: Iterable[Path | str]) -> list[str]:
    try:
        return list(registry.discover(kind, files).plugins)
    except UserError:
        # the command will say what is wrong with a file
        return list(registry.discover(kind).plugins)


def _continued(text: str, names: Iterable[str]) -> list[str]:
    """The text with its last name completed; nothing inside brackets, where options stand."""
    depth, start = 0, 0
    for place, sign in enumerate(text):
        depth += (sign == "[") - (sign == "]")
        if sign == "," and not depth:
            start = place + 1
    return [] if depth else [text[:start] + name for name in names if name.startswith(text[start:])]
