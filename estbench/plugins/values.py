"""Values of options: converts words of a command line into values of the annotated type, and back.

The annotation gives a list of candidate values, the most specific first, and the first valid one is taken: for
``int | str`` the word ``4`` is the number, and ``'4'`` in quotes is text.
"""

import collections.abc
import contextlib
import enum
import functools
import inspect
import types
import warnings
from collections.abc import Hashable, Iterator
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from estbench.errors import plain as printable
from estbench.errors import shorten
from estbench.plugins.grammar import Bracketed, Quoted, Token, Word, by_look, written

_TOKENS = (Word, Quoted, Bracketed)
# the types that an option without an annotation accepts
ANYTHING = (inspect.Parameter.empty, Any, object)
_CONTAINERS = {
    tuple: tuple,
    list: list,
    set: set,
    frozenset: frozenset,
    collections.abc.Sequence: tuple,
    collections.abc.Collection: tuple,
    collections.abc.Iterable: tuple,
}
_LARGEST = 2**63 - 1
_TOO_LARGE = f"{_LARGEST} at most"
_UNIONS = (Union, types.UnionType)
# the types of a union are tried in this order
_ORDER = (Literal, None, type(None), bool, int, float, Annotated, Path, "others", str)

# a value of an option as JSON and a specification can hold it
Plain: TypeAlias = "bool | int | float | str | tuple[Plain, ...] | None"


def read(annotation: Any, given: Any) -> Any:
    """The value of an option.

    Args:
        annotation: the type that the option declares; ``inspect.Parameter.empty`` where it declares none.
        given: words of a text (a token of ``grammar``), or a value.

    Raises:
        ValueError: it has no such value; the message says what was expected and what was given.
    """
    if not isinstance(annotation, Hashable) or annotation in ANYTHING:
        return by_look(given) if isinstance(given, _TOKENS) else given
    problem = ""
    for candidate in _candidates(annotation, given):
        problem = _problem(annotation, candidate)
        if not problem:
            return candidate
    why = f" ({problem})" if problem == _TOO_LARGE or (problem and get_origin(annotation) is Annotated) else ""
    raise ValueError(f"expected {expected(annotation)}{why}; got {_received(given)}")


def as_plain(value: Any) -> Plain:
    """A value as JSON and a specification can hold it, the same in every process.

    Numbers, truth values, text and ``None`` stay what they are, lists become tuples, members of enumerations and
    paths text; of anything else, such as a function, its name is left.
    """
    if isinstance(value, enum.Enum):
        return _member_text(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, list | tuple):
        return tuple(map(as_plain, value))
    if isinstance(value, set | frozenset):
        return tuple(sorted(map(as_plain, value), key=lambda each: (type(each).__name__, str(each))))
    return _named(value)


def can_be_given(value: Any) -> bool:
    """Whether ``plain`` keeps the whole value, not only its name."""
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(can_be_given, value))
    return value is None or isinstance(value, bool | int | float | str | PurePath | enum.Enum)


def _named(value: Any) -> str:
    """A name for a value that cannot be written; not its repr, which may hold an address."""
    named = value if isinstance(value, type) or callable(value) else type(value)
    name = getattr(named, "__qualname__", None) or type(value).__qualname__
    return f"<{shorten(printable(name), 100)}>"


def expected(annotation: Any) -> str:
    """The values that an option accepts, in words."""
    origin, members = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return expected(members[0])
    if origin in _UNIONS:
        return " or ".join(map(expected, members))
    if (origin or annotation) in _CONTAINERS:
        return _list_of([expected(member) for member in members if member is not ...])
    if origin is Literal or (isinstance(annotation, type) and issubclass(annotation, enum.Enum)):
        return " or ".join(written(as_plain(member)) for member in members or annotation)
    return _WORDS.get(annotation, str(getattr(annotation, "__name__", annotation)))


def _list_of(kinds: list[str]) -> str:
    each = f", each {kinds[0]}" if len(set(kinds)) == 1 else f", of {', '.join(kinds)}" if kinds else ""
    return f"a list such as (1,2){each}"


_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    None: "none",
    type(None): "none",
    Path: "a path",
}


def _member_text(member: enum.Enum) -> str:
    return str(member.value) if isinstance(member.value, str) else member.name


def _received(given: Any) -> str:
    if isinstance(given, Word | Bracketed):
        return repr(shorten(printable(given.text), 120))
    text = given.text if isinstance(given, Quoted) else as_plain(given)
    return f"the text {shorten(printable(repr(text)), 120)}" if isinstance(text, str) else shorten(repr(text), 120)


def _problem(annotation: Any, value: Any) -> str:
    """Why a value does not fit an annotation; empty if it does."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError  # noqa: PLC0415  (kept out of `estbench list`)

    if isinstance(value, int) and abs(value) > _LARGEST:
        return _TOO_LARGE
    settings = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
    try:
        with warnings.catch_warnings(action="ignore"):
            # wrapped in a tuple, since models and dataclasses do not accept a configuration from outside
            TypeAdapter(tuple[annotation], config=settings).validate_python((value,))
    except ValidationError as error:
        return str(error.errors()[0]["msg"]).lower()
    except Exception:  # noqa: BLE001  (an annotation that is no type that can be checked: the constructor decides)
        return ""
    return ""


def _candidates(kind: Any, given: Any) -> Iterator[Any]:
    """Candidate values of a type for the given text or value, the most specific first; not checked yet."""
    origin, members = get_origin(kind), get_args(kind)
    if origin is Annotated:
        yield from _candidates(members[0], given)
    elif origin in _UNIONS:
        for member in sorted(members, key=functools.partial(_rank, given)):
            yield from _candidates(member, given)
    elif origin is Literal:
        yield from (member for member in members if _says(given, member))
    elif (origin or kind) in _CONTAINERS:
        yield from _lists(origin or kind, members, given)
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        yield from (member for member in kind if given is member or _says(given, member))
    elif isinstance(given, _TOKENS):
        yield from _worded(kind, given)
    else:
        yield _converted(kind, given)


def _rank(given: Any, kind: Any) -> int:
    """Where a member of a union stands in the order of trying: what admits little first, text last."""
    origin = get_origin(kind) or kind
    if origin in _CONTAINERS:
        # a bare word is a list only if it is nothing else
        return len(_ORDER) + 1 if isinstance(given, Word) else 0
    return _ORDER.index(origin if origin in _ORDER else "others")


def _says(given: Any, member: Any) -> bool:
    """Whether this member of a choice was given."""
    if isinstance(given, Word):
        names = {
            written(as_plain(member)),
            str(as_plain(member)),
            *([member.name] if isinstance(member, enum.Enum) else []),
        }
        return given.text in names or (not isinstance(member, str) and given.text.lower() in map(str.lower, names))
    text = given.text if isinstance(given, Quoted | Bracketed) else given
    if isinstance(member, enum.Enum) and isinstance(text, str):
        return text in (member.name, _member_text(member))
    return type(text) is type(member) and bool(text == member)


def _lists(kind: Any, kinds: tuple[Any, ...], given: Any) -> Iterator[Any]:
    """What was given as a list, or a bare word as the words in it."""
    if isinstance(given, Bracketed):
        items: list[Any] = list(given.items)
    elif isinstance(given, Word):
        items = [Word(text) for text in given.text.split()]
    elif isinstance(given, list | tuple | set | frozenset):
        items = list(given)
    else:
        return
    if kind is not tuple or kinds[1:] == (...,) or not kinds:
        kinds = (*(kinds[:1] or (inspect.Parameter.empty,)),) * len(items)
    try:
        yield _CONTAINERS[kind]([read(each, item) for each, item in zip(kinds, items, strict=True)])
    except (TypeError, ValueError):
        return


def _worded(kind: Any, given: Token) -> Iterator[Any]:
    """Words as a value of a simple type."""
    text = given.text
    if kind is str:
        yield text
    elif kind is Path:
        yield Path(text)
    elif kind in (None, type(None)):
        yield from [None] if isinstance(given, Word) and text.lower() in ("none", "null") else []
    elif kind in (int, float) and isinstance(given, Word):
        with contextlib.suppress(ValueError):
            yield kind(text)
    else:
        yield by_look(given)


def _converted(kind: Any, given: Any) -> Any:
    """A value as one of a type that holds it without loss."""
    if kind is float and isinstance(given, int) and not isinstance(given, bool):
        return float(given)
    return Path(given) if kind is Path and isinstance(given, str) else given
