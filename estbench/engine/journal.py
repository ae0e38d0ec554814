"""Journals: keep the states of a measurement, so that it can be continued later."""

import abc
from collections.abc import Mapping
from typing import Any


class Journal(abc.ABC):
    """Keeps the states of a measurement.

    A state is a nested mapping of tensors, numbers and strings. Measures know nothing about files; they receive a
    journal that keeps their states.
    """

    @abc.abstractmethod
    def furthest(self, progress: str, limit: int) -> dict[str, Any] | None:
        """The kept state with the largest ``state[progress]`` that is not above the limit; None if there is none."""

    @abc.abstractmethod
    def due(self) -> bool:
        """Whether it is time to keep another state."""

    @abc.abstractmethod
    def keep(self, state: Mapping[str, Any], *, done: bool = False) -> None:
        """Keeps a state and drops earlier ones of this measurement; if done, also the state that it continued from."""


class NoJournal(Journal):
    """A journal that keeps nothing: a measurement that is stopped has to start again."""

    def furthest(self, progress: str, limit: int) -> None:
        """Returns None: nothing is kept."""

    def due(self) -> bool:
        """Returns False: it is never time to keep a state."""
        return False

    def keep(self, state: Mapping[str, Any], *, done: bool = False) -> None:
        """Drops the state."""
