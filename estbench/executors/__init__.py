"""Executors: where cells are measured."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import pandas as pd

from estbench.plan import Cell


class Executor(Protocol):
    """Measures cells somewhere, in any order, timing cells alone and after the others."""

    def run(
        self, cells: Sequence[Cell], measure: Callable[[Cell], pd.DataFrame]
    ) -> Iterator[tuple[Cell, pd.DataFrame]]:
        """Yields each cell with its rows as it is done."""
