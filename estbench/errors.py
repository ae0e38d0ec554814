"""Errors that people read, and the help that their messages give."""

import difflib
import sys
from collections.abc import Iterable, Sequence

# how long a message may be: enough for every name that is known, and no flood
LONGEST = 1200


class UserError(ValueError):
    """What a user asked for cannot be done; the message is one line that says what, why and what was received."""


class DamagedError(ValueError):
    """A file is not what was written; the message says in what way."""


def warn(message: str) -> None:
    """Says in one line on stderr what was wrong."""
    print(f"estbench: {shorten(plain(message))}", file=sys.stderr)  # noqa: T201


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest valid one, or all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known) or 'none'}"


def plain(text: object) -> str:
    """A text in one line, without control characters: they can drive a terminal or turn a line around.

    Of an object it is what the object says of itself; if that raises or gives no text, a remark in its place.
    """
    try:
        said = str(text)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        said = "its text cannot be read"
    return " ".join("".join(c if c.isprintable() else " " for c in said).split())


def shorten(text: str, length: int = LONGEST) -> str:
    """A text of at most this length; the middle goes, as names differ at their ends."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[-tail:]}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """Names in a sentence; of many the first, and how many more."""
    shown = [*names[:most], f"{len(names) - most} more"] if len(names) > most else list(names)
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)


def reason(error: BaseException) -> str:
    """What an exception says, with its type, in one line; whatever its own text does."""
    return shorten(f"{plain(type(error).__name__)}: {plain(error)}".strip())
