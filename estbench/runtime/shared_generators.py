"""Shared generators: those that NumPy and Python keep for all that ask them, beside torch's."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np


def seed(number: int) -> None:
    """Seeds them."""
    np.random.seed(number % 2**32)  # noqa: NPY002  (what a plugin may draw from)
    random.seed(number)


def state() -> tuple[object, ...]:
    """Their state, to be compared."""
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    return kind, np.asarray(keys).tobytes(), *rest, random.getstate()


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Puts them back afterwards as they were before."""
    before = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before[0])  # noqa: NPY002
        random.setstate(before[1])
