"""Converts the arguments of functions for suites and requests; errors are one line that names the argument."""

import contextlib
import math
import numbers
import operator
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from estbench.errors import UserError
from estbench.plugins.loading import KINDS, base
from estbench.plugins.spec import Spec


def several(value: Any) -> list[Any]:
    """One value or an iterable of values, such as a generator, as a list.

    Raises:
        UserError: it is a mapping, whose values would be lost.
    """
    if isinstance(value, Mapping):
        raise UserError(f"expected one value or a sequence of them, not a mapping; got {value!r:.80}")
    # an estimator is a module of torch, which may be iterable
    single = isinstance(value, (str, bytes, type, Path, Spec, *map(base, KINDS)))
    return list(value) if isinstance(value, Iterable) and not single else [value]


def whole_number(name: str, value: Any) -> int:
    """A whole number, which may be one of NumPy or torch.

    Raises:
        UserError: the value is no whole number.
    """
    with contextlib.suppress(TypeError):
        if not isinstance(value, bool):
            return operator.index(value)
    raise UserError(f"{name} takes whole numbers; got {value!r:.80}")


def finite_number(name: str, value: Any, least: float = 0.0, *, whole: bool = False) -> Any:
    """A finite number that is at least ``least``; None is returned as it is.

    Raises:
        UserError: the value is no such number.
    """
    if value is None:
        return None
    if whole:
        found: float = whole_number(name, value)
    elif not isinstance(value, bool) and isinstance(value, numbers.Real):
        found = float(value)
    else:
        raise UserError(f"{name} takes a number; got {value!r:.80}")
    if not math.isfinite(found) or found < least:
        raise UserError(f"{name} takes a finite number of at least {least:g}; got {value!r:.80}")
    return found


def folder(name: str, value: Any, default: Path | None = None) -> Path:
    """A folder by its path, in which ``~`` is the user's home; None means the default, if there is one.

    Raises:
        UserError: the value is no path.
    """
    if value is None and default is not None:
        return default
    if isinstance(value, str | os.PathLike) and str(value):
        return Path(value).expanduser()
    raise UserError(f"{name} takes the path of a folder; got {value!r:.80}")


def spec(name: str, value: Any) -> Spec:
    """A specification from its text; a ``Spec`` is returned as it is.

    Raises:
        UserError: the value is neither a text nor a ``Spec``.
    """
    if isinstance(value, Spec):
        return value
    if isinstance(value, str):
        return Spec.one(value)
    raise UserError(f"{name} takes a name with options or a Spec; got {value!r:.80}")


def _seeds(value: Any) -> int | list[int]:
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [whole_number("seeds", each) for each in value]
    return whole_number("seeds", value)


def _tune(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {"options": several(value)}


def _torch_name(value: Any) -> str:
    """The name of a device or dtype, which may be an object of torch."""
    return str(value).removeprefix("torch.")


# arguments that replace a single value of a suite
SINGLE: Mapping[str, Callable[[Any], Any]] = {
    "seeds": _seeds,
    "tune": _tune,
    "device": _torch_name,
    "dtype": _torch_name,
    "scale": lambda value: finite_number("scale", value),
    "precision": lambda value: finite_number("precision", value),
}
