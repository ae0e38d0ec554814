"""Journals: what a measurement leaves behind on its way, so that it can be continued."""

import abc
from collections.abc import Mapping
from typing import Any


class Journal(abc.ABC):
    """Where a measurement leaves its state.

    A state is a nested mapping of tensors, numbers and strings. Measures know no files: what keeps states is
    given to them.
    """

    @abc.abstractmethod
    def furthest(self, progress: str, limit: int) -> dict[str, Any] | None:
        """The kept state with the largest ``state[progress]`` that is not above the limit; None if there is none."""

    @abc.abstractmethod
    def due(self) -> bool:
        """Whether it is time to keep a state again."""

    @abc.abstractmethod
    def keep(self, state: Mapping[str, Any], *, done: bool = False) -> None:
        """Keeps a state in place of earlier ones of this measurement; of those that it continued too, once done."""


class NoJournal(Journal):
    """Keeps nothing: a measurement that is stopped starts again."""

    def furthest(self, progress: str, limit: int) -> None:
        """Nothing."""

    def due(self) -> bool:
        """Never."""
        return False

    def keep(self, state: Mapping[str, Any], *, done: bool = False) -> None:
        """Forgets it."""
