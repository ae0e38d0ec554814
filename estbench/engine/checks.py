"""Checks of what plugins hand over: numbers that a table can hold."""

import operator
from typing import Any

from torch import Tensor

from estbench.errors import shorten


def real(what: str, value: Any) -> float:
    """A real number.

    Raises:
        TypeError: it is something else, of which the message tells.
    """
    try:
        if not isinstance(value, (str, bytes)):
            return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        pass
    raise TypeError(f"{what} must be a real number; got {described(value)}")


def whole(what: str, value: Any) -> int:
    """A whole number.

    Raises:
        TypeError: it is something else.
        ValueError: it does not fit in 64 bits.
    """
    try:
        found = operator.index(value)
    except TypeError as error:
        raise TypeError(f"{what} must be a whole number; got {described(value)}") from error
    if not -(2**63) <= found < 2**63:
        raise ValueError(f"{what} must fit in 64 bits; got {described(found)}")
    return found


def number_each(what: str, values: Tensor, examples: int) -> Tensor:
    """A real number for each of so many examples, ``(examples,)``.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(values, Tensor) or values.shape != (examples,) or values.is_complex():
        raise TypeError(f"{what} must be a tensor of {examples} real numbers; got {described(values)}")
    return values


def described(value: object) -> str:
    """A value of any kind in an error message."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and type {value.dtype}"
    if value is None or isinstance(value, (str, bytes, int, float, complex)):
        return shorten(ascii(value), 80)
    return f"a value of type {type(value).__name__}"
