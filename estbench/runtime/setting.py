"""A global setting of a process."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """A global setting of the process.

    Args:
        read: returns its value.
        write: sets its value.
    """

    read: Callable[[], Any]
    write: Callable[[Any], object]
