"""Errors that people read, and the help that their messages give."""

import difflib
import sys
from collections.abc import Iterable


class UserError(ValueError):
    """What a user asked for cannot be done; the message is one line that says what, why and what was received."""


class DamagedError(ValueError):
    """A file is not what was written; the message says in what way."""


def warn(message: str) -> None:
    """Says on stderr, a line each, what was wrong and did not end the command."""
    for line in message.splitlines():
        print(f"estbench: {line}", file=sys.stderr)  # noqa: T201


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest valid one, or all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known) or 'none'}"
