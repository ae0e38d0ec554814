"""Inline: one cell after another, in this process."""

from collections.abc import Callable, Iterator, Sequence

import pandas as pd

from estbench.plan import Cell


class Inline:
    """Measures cells in this process."""

    def run(
        self, cells: Sequence[Cell], measure: Callable[[Cell], pd.DataFrame]
    ) -> Iterator[tuple[Cell, pd.DataFrame]]:
        """Yields each cell with its rows as it is done."""
        for cell in cells:
            yield cell, measure(cell)
