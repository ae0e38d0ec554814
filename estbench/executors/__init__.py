"""Executors: where cells are measured."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import joblib
import pandas as pd

from estbench.executors.inline import Inline
from estbench.executors.local import Local
from estbench.plan import Cell
from estbench.spec import UserError, nearest

NAMES = ("auto", "inline", "local")


class Executor(Protocol):
    """Measures cells somewhere, in any order, timing cells alone and after the others."""

    def run(
        self, cells: Sequence[Cell], measure: Callable[[Cell], pd.DataFrame]
    ) -> Iterator[tuple[Cell, pd.DataFrame]]:
        """Yields each cell with its rows as it is done."""


def make(name: str, workers: int | None, device: str) -> Executor:
    """An executor by its name.

    Args:
        name: ``inline``, ``local``, or ``auto``: local on a CPU of several cores, inline on a GPU.
        workers: processes of the local executor; None for one a core.
        device: where the cells run.

    Raises:
        UserError: there is no such executor.
    """
    if name not in NAMES:
        raise UserError(f"unknown executor {name!r}; {nearest(name, NAMES)}")
    cores = workers or joblib.cpu_count()
    if name == "auto":
        name = "local" if cores > 1 and device == "cpu" else "inline"
    return Local(cores) if name == "local" else Inline()
