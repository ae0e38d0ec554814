"""Specifications: a plugin's name with options, ``rloo[samples=4]``, and grids of them."""

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Self, TypeAlias

from estbench.errors import UserError, nearest

Scalar: TypeAlias = bool | int | float | str


@dataclass(frozen=True)
class Spec:
    """A plugin's name with its options.

    Args:
        name: the plugin's name.
        options: values by option.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        options = ",".join(f"{key}={_written(value)}" for key, value in sorted(self.options.items()))
        return f"{self.name}[{options}]" if options else self.name

    def __hash__(self) -> int:
        return hash(str(self))

    @property
    def params(self) -> str:
        """The options as JSON with sorted keys."""
        return json.dumps(dict(self.options), sort_keys=True)

    def without(self, names: Iterable[str]) -> Self:
        """The specification with these options left out."""
        return type(self)(self.name, {k: v for k, v in self.options.items() if k not in set(names)})

    @classmethod
    def one(cls, text: str) -> Self:
        """Reads a specification that is no grid.

        Raises:
            UserError: it is not well formed, or is a grid.
        """
        specs = list(expand(text))
        if len(specs) != 1:
            raise UserError(f"expected one value per option; got the grid {text!r}")
        return cls(specs[0].name, specs[0].options)


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read(text: str) -> Scalar:
    text = text.strip()
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def split(text: str) -> list[str]:
    """Splits at the commas outside brackets: ``"a[x=1,2],b"`` into ``["a[x=1,2]", "b"]``."""
    return [part.strip() for part in re.split(r",(?![^\[]*\])", text) if part.strip()]


def expand(text: str) -> Iterator[Spec]:
    """All specifications of a grid: ``rloo[samples=2,4]`` is two.

    Raises:
        UserError: the text is not ``name`` or ``name[key=value,...]``.
    """
    match = re.fullmatch(r"([^\[\]=,\s]+)(?:\[([^\[\]]*)\])?", text.strip())
    if not match:
        raise UserError(f"expected name or name[key=value,...]; got {text!r}")
    name, inside = match.groups()
    axes: dict[str, list[Scalar]] = {}
    key = ""
    for part in filter(str.strip, (inside or "").split(",")):
        if "=" in part:
            key, _, part = (piece.strip() for piece in part.partition("="))  # noqa: PLW2901
            if key in axes:
                raise UserError(f"option {key!r} is given twice in {text!r}; write {key}=a,b for a grid")
            axes[key] = []
        if not key:
            raise UserError(f"expected key=value in the brackets; got {part.strip()!r} in {text!r}")
        axes[key].append(_read(part))
    for values in itertools.product(*axes.values()):
        yield Spec(name, dict(zip(axes, values, strict=True)))


def select(patterns: Iterable[str], known: Iterable[str], what: str) -> list[Spec]:
    """Specifications by patterns, which are comma-separated, may have globs for names, and may be grids.

    Raises:
        UserError: a pattern matches no known name.
    """
    known = list(known)
    chosen: dict[str, Spec] = {}
    for pattern in (part for text in patterns for part in split(text)):
        for spec in expand(pattern):
            names = [name for name in known if fnmatchcase(name, spec.name)]
            if not names:
                raise UserError(f"unknown {what} {spec.name!r}; {nearest(spec.name, known)}")
            for found in (Spec(name, spec.options) for name in names):
                chosen.setdefault(str(found), found)
    return list(chosen.values())
