"""Noise: random numbers for estimators, from torch's generator or from a source that stands in for it.

Inside ``vmap`` over replicas, torch's generator cannot give each replica its own random stream. A source can: while it
is installed, ``rand``, ``randn`` and ``gamma`` return its numbers.
"""

import abc
import contextlib
import contextvars
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class Law(NamedTuple):
    """A distribution.

    Args:
        name: ``uniform`` on [0, 1), ``normal`` with deviation 1, ``gamma`` with scale 1, or ``integers`` from ``low``
            to ``high - 1``.
        low: the smallest integer.
        high: the largest integer plus one.
        concentration: of the gamma distribution.
    """

    name: str
    low: int = 0
    high: int = 0
    concentration: float = 0.0


UNIFORM, NORMAL = Law("uniform"), Law("normal")


class NoiseSource(abc.ABC):
    """A source of random numbers that stands in for torch's generator."""

    @abc.abstractmethod
    def draw(self, law: Law, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """Independent draws."""


# the source of the current thread and asyncio task; None stands for torch's generator
_SOURCE: contextvars.ContextVar[NoiseSource | None] = contextvars.ContextVar("source", default=None)


@contextlib.contextmanager
def drawn_from(source: NoiseSource) -> Iterator[None]:
    """Makes ``rand``, ``randn`` and ``gamma`` take random numbers from this source inside the context."""
    token = _SOURCE.set(source)
    try:
        yield
    finally:
        _SOURCE.reset(token)


def rand(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Uniform noise in [0, 1), on the device and dtype of ``like``."""
    source = _SOURCE.get()
    if source is None:
        return torch.rand(shape, dtype=like.dtype, device=like.device)
    return source.draw(UNIFORM, tuple(shape), like.dtype, like.device)


def randn(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Standard normal noise, on the device and dtype of ``like``."""
    source = _SOURCE.get()
    if source is None:
        return torch.randn(shape, dtype=like.dtype, device=like.device)
    return source.draw(NORMAL, tuple(shape), like.dtype, like.device)


def gamma(concentration: float, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Noise of the gamma distribution with scale 1, on the device and dtype of ``like``."""
    source = _SOURCE.get()
    if source is None:
        return torch._standard_gamma(like.new_full(shape, concentration))  # noqa: SLF001  (the only one without checks)
    return source.draw(Law("gamma", concentration=concentration), tuple(shape), like.dtype, like.device)


def uniform(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Uniform noise in the open interval (0, 1): its logarithms are finite."""
    return rand(shape, like).clamp(torch.finfo(like.dtype).tiny, 1 - torch.finfo(like.dtype).eps / 2)
