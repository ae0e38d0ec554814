"""Shared generators: the global random generators of NumPy and Python, and torch's."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np


def seed(number: int) -> None:
    """Seeds the global generators of NumPy and Python."""
    np.random.seed(number % 2**32)  # noqa: NPY002  (what a plugin may draw from)
    random.seed(number)


def state() -> tuple[object, ...]:
    """The state of the generators, for comparisons."""
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    return kind, np.asarray(keys).tobytes(), *rest, random.getstate()


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Restores the generators at the end of the context."""
    before = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before[0])  # noqa: NPY002
        random.setstate(before[1])
