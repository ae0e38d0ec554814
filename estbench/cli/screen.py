"""The screen, and options that several commands share."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from estbench.errors import warn
from estbench.plugins.registry import Plugins

Files = Annotated[list[Path] | None, typer.Option("-e", "--plugin", help="A plugin file; may be given several times.")]


class Screen(Console):
    """A console that escapes control characters, which could control the terminal or reverse a line."""

    def render_str(self, text: str, **look: Any) -> Text:
        """A text with control characters escaped, except newlines and tabs."""
        kept = "".join(sign if sign.isprintable() or sign in "\n\t" else " " for sign in text)
        return super().render_str(kept, **look)


def found(files: Sequence[Path] | None, seconds: float | None = None) -> Plugins:
    """What plugins there are, found once; problems with those that are left out are said on stderr.

    Args:
        files: plugin files of the user.
        seconds: how long importing a file may take; None for no limit.
    """
    plugins = Plugins.found(files or (), seconds)
    for problem in plugins.problems:
        warn(problem)
    return plugins


def console() -> Console:
    """The screen."""
    # output piped into a file should not be wrapped to a narrow screen
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160
    return Screen(highlight=False, width=width)
