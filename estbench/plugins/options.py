"""Options: the values of a specification, interpreted by the types that the constructor declares."""

import inspect
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any

from estbench.errors import UserError, nearest, plain, reason
from estbench.plugins import values
from estbench.plugins.grammar import shown
from estbench.plugins.spec import Spec
from estbench.runtime.guard import muted, pass_on


class ConstructionError(UserError):
    """A constructor raised an error that is not a refusal of a value: a fault of the plugin, not of the request."""


def construct(cls: type[Any], spec: Spec) -> Any:
    """An instance of a class with the options of a specification, checked against its signature.

    Output of the constructor is discarded.

    Raises:
        ConstructionError: the constructor raises something else than ``TypeError`` or ``ValueError``.
        UserError: an option is unknown, missing, or has an invalid value.
    """
    options = _read(cls, spec)
    try:
        with muted():
            return cls(**options)
    except (TypeError, ValueError) as error:
        raise UserError(f"{spec}: {plain(error)}") from error
    except BaseException as error:
        pass_on(error)
        raise ConstructionError(f"{spec} cannot be made: {reason(error)}") from error


def checked_options(cls: type[Any], spec: Spec) -> dict[str, values.Plain]:
    """The options of a specification, interpreted by the constructor's signature, in a form for JSON.

    Raises:
        UserError: an option is unknown or of the wrong type.
    """
    return {key: values.as_plain(value) for key, value in _read(cls, spec).items()}


def defaults(cls: type[Any]) -> dict[str, values.Plain]:
    """The defaults of options, in a form for JSON."""
    parameters = options_of(cls)
    return {key: values.as_plain(p.default) for key, p in parameters.items() if p.default is not p.empty}


def given_defaults(cls: type[Any]) -> dict[str, values.Plain]:
    """The defaults that a specification can express; other objects only have a name."""
    parameters = options_of(cls)
    return {key: value for key, value in defaults(cls).items() if values.can_be_given(parameters[key].default)}


def _read(cls: type[Any], spec: Spec) -> dict[str, Any]:
    known, others = options_of(cls), takes_others(cls)
    found = {}
    for key, given in spec.given.items():
        if key not in known and others:
            found[key] = values.read(inspect.Parameter.empty, given)
            continue
        if key not in known:
            raise UserError(f"{spec.name} has no option {shown(key)}; {nearest(key, known)}")
        try:
            found[key] = values.read(_annotation(cls, known[key]), given)
        except ValueError as error:
            raise UserError(f"{spec.name}: option {key!r}: {error}") from error
    return found


def _annotation(cls: type[Any], parameter: inspect.Parameter) -> Any:
    """What an option declares, with names resolved; of one that is ``None`` by default also that.

    Raises:
        ValueError: names do not resolve.
    """
    annotation = parameter.annotation
    try:
        holder: Any = types.SimpleNamespace(__annotations__={"value": annotation})
        annotation = typing.get_type_hints(holder, dict(_names(cls)), include_extras=True)["value"]
    except TypeError:
        # an annotation that is not a type does not restrict the values
        return parameter.empty
    except BaseException as error:
        pass_on(error)
        raise ValueError(f"its annotation {shown(str(annotation))} does not resolve: {reason(error)}") from error
    if parameter.default is None and annotation not in values.ANYTHING:
        return typing.Optional[annotation]  # noqa: UP045  (of what may be a text)
    return annotation


def _names(cls: type[Any]) -> Mapping[str, Any]:
    """The names that annotations of a constructor may use."""
    constructor = inspect.unwrap(cls.__init__)
    own = vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}
    return {**own, **getattr(constructor, "__globals__", {})}


def options_of(cls: type[Any]) -> dict[str, inspect.Parameter]:
    """The options of a plugin's class: the named parameters of its constructor.

    Raises:
        UserError: the constructor does not say which it has.
    """
    named = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    try:
        parameters = inspect.signature(cls).parameters
    except (TypeError, ValueError) as error:
        raise UserError(f"{cls.__name__} does not say which options its constructor has: {reason(error)}") from error
    return {k: p for k, p in parameters.items() if p.kind in named}


def takes_others(cls: type[Any]) -> bool:
    """Whether a constructor takes options that it does not name; their values are what they look like."""
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(cls).parameters.values())
