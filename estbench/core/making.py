"""How an instance was made: the arguments of its constructor, from which another process can make the same."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

KEPT_AS = "_made_with"


class MadeWith(NamedTuple):
    """The arguments that a constructor was called with.

    Args:
        values: those that were given by their place.
        named: those that were given by name.
    """

    values: tuple[Any, ...]
    named: Mapping[str, Any]


class Recorded:
    """Base of what plugins extend: an instance keeps the arguments of its constructor.

    A constructor may keep an option under another name or in another form, as a schedule or a buffer, so that the
    attributes do not tell.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """An instance, before its constructor runs.

        Raises:
            TypeError: there is no constructor, but arguments for one.
        """
        # object ignores arguments once __new__ is defined
        if cls.__init__ is object.__init__ and (args or kwargs):
            raise TypeError(f"{cls.__name__}() takes no arguments")
        parent = super().__new__
        made = parent(cls) if parent is object.__new__ else parent(cls, *args, **kwargs)
        # also of a frozen dataclass
        object.__setattr__(made, KEPT_AS, MadeWith(args, kwargs))
        return made


def made_with(instance: Recorded) -> MadeWith:
    """The arguments of the constructor that made an instance."""
    found: MadeWith = vars(instance)[KEPT_AS]
    return found
