"""What commands share: the screen, and options that several of them take."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

Files = Annotated[list[Path] | None, typer.Option("-e", "--plugin", help="A plugin file; may be given several times.")]


def console() -> Console:
    """The screen."""
    # what is piped into a file should not be folded as on a narrow screen
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160
    return Console(highlight=False, width=width)
