"""Options: a specification's values, checked against the constructor that they are for."""

import inspect
import typing
from typing import Any

from estbench.errors import UserError, nearest
from estbench.plugins.spec import Spec


def make(cls: type[Any], spec: Spec) -> Any:
    """An instance of a class with the options of a specification, checked against its signature.

    Raises:
        UserError: an option is unknown, missing, or has a value it cannot have.
    """
    options = check(cls, spec)
    try:
        return cls(**options)
    except (TypeError, ValueError) as error:
        raise UserError(f"{spec}: {error}") from error


def check(cls: type[Any], spec: Spec) -> dict[str, Any]:
    """The options of a specification, with the types that the signature asks for.

    Raises:
        UserError: an option is unknown or of the wrong type.
    """
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415  (kept out of `estbench list`)

    known = options_of(cls)
    hints = typing.get_type_hints(cls.__init__)
    checked = {}
    for key, value in spec.options.items():
        if key not in known:
            raise UserError(f"{spec.name} has no option {key!r}; {nearest(key, known)}")
        try:
            checked[key] = TypeAdapter(hints.get(key, Any)).validate_python(value, strict=True)
        except ValidationError as error:
            message = error.errors()[0]["msg"].lower()
            raise UserError(f"{spec.name}: option {key!r}: {message}; got {value!r}") from error
    return checked


def options_of(cls: type[Any]) -> dict[str, inspect.Parameter]:
    """The options of a plugin's class: the named parameters of its constructor."""
    named = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    return {k: p for k, p in inspect.signature(cls).parameters.items() if p.kind in named}
