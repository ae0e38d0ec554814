"""Specifications: a plugin's name with options, ``rloo[samples=4]``, and grids of them."""

import functools
import itertools
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Self

from estbench.errors import UserError, nearest, plain
from estbench.plugins.grammar import Reader, Token, by_look, shown, written

# largest number of specifications of one pattern; more would be a mistake, and would not fit into memory
MOST = 100_000


@dataclass(frozen=True, eq=False)
class Spec:
    """A plugin's name with its options; two specifications are equal if they are written in the same way.

    Args:
        name: the plugin's name.
        options: the value of each option; those read from text are interpreted by their look.
        tokens: the text of values that were read from text, for use when the declared type of an option is known.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    tokens: Mapping[str, Token] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return self._text

    @functools.cached_property
    def _text(self) -> str:
        options = ",".join(f"{key}={written(value)}" for key, value in sorted(self.options.items()))
        return f"{self.name}[{options}]" if options else self.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spec) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    @property
    def params(self) -> str:
        """The options as JSON with sorted keys."""
        return json.dumps(dict(self.options), sort_keys=True)

    @property
    def given(self) -> dict[str, Any]:
        """What each option was given: the words of a text, or else the value."""
        return {key: self.tokens.get(key, value) for key, value in self.options.items()}

    def without(self, names: Iterable[str]) -> Self:
        """The specification with these options left out."""
        left = set(self.options) - set(names)
        return type(self)(self.name, *({k: v for k, v in each.items() if k in left} for each in self._parts))

    def having(self, options: Mapping[str, Any]) -> Self:
        """The specification with these values of options, which replace those that it has."""
        kept = self.without(options)
        return type(self)(self.name, {**kept.options, **options}, kept.tokens)

    @property
    def _parts(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        return self.options, self.tokens

    @classmethod
    def one(cls, text: str) -> Self:
        """Reads a specification that is no grid.

        Raises:
            UserError: it is not well formed, or is a grid.
        """
        specs = list(itertools.islice(expand(text), 2))
        if len(specs) != 1:
            raise UserError(f"expected one value per option; got the grid {shown(text)}")
        return cls(specs[0].name, specs[0].options, specs[0].tokens)


def split(text: str) -> list[str]:
    """Splits at the commas outside brackets: ``"a[x=1,2],b"`` into ``["a[x=1,2]", "b"]``.

    Raises:
        UserError: a bracket or a quote is not closed.
    """
    reader, found = Reader(text), []
    while reader.next:
        start = reader.at
        reader.until(",[")
        if reader.next == "[":
            reader.at += 1
            reader.axes()
            reader.until(",")
        found.append(text[start : reader.at].strip())
        reader.at += 1
    return [part for part in found if part]


def expand(text: str) -> Iterator[Spec]:
    """All specifications of a grid: ``rloo[samples=2,4]`` is two.

    Raises:
        UserError: the text is not ``name`` or ``name[key=value,...]``, or stands for too many.
    """
    reader = Reader(text.strip())
    name, axes = reader.until("[],="), {}
    if reader.next == "[":
        reader.at += 1
        axes = reader.axes()
    if not name or any(sign.isspace() for sign in name) or reader.next:
        raise UserError(f"expected name or name[key=value,...]; got {shown(text)}")
    if (count := math.prod(map(len, axes.values()))) > MOST:
        raise UserError(f"a grid may have {MOST:,} members at most; got {count:,} in {shown(text)}")
    for values in itertools.product(*axes.values()):
        tokens = dict(zip(axes, values, strict=True))
        yield Spec(name, {key: by_look(token) for key, token in tokens.items()}, tokens)


def select(patterns: Iterable[str], known: Iterable[str], what: str, exact: Collection[str] = ()) -> list[Spec]:
    """Specifications by patterns, which are comma-separated, may have globs for names, and may be grids.

    Args:
        patterns: the patterns.
        known: names that they match.
        what: what it is that has the names, for messages.
        exact: names that are meant only where they are written out.

    Raises:
        UserError: a pattern matches no known name.
    """
    known = list(known)
    chosen: dict[Any, Spec] = {}
    for pattern in (part for text in patterns for part in split(text)):
        for spec in expand(pattern):
            names = [spec.name] if spec.name in exact else [name for name in known if fnmatchcase(name, spec.name)]
            if not names:
                raise UserError(f"unknown {what} {shown(spec.name)}; {nearest(plain(spec.name), known)}")
            for found in (Spec(name, spec.options, spec.tokens) for name in names):
                chosen.setdefault((found, *sorted(found.tokens.items(), key=lambda pair: pair[0])), found)
    return list(chosen.values())
