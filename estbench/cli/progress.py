"""Displays the progress and the end of a comparison on the screen."""

import contextlib
import functools
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Never

from rich.console import Console
from rich.markup import escape
from tqdm import tqdm

from estbench.planning.cell import Cell
from estbench.planning.plan import Plan
from estbench.store.records import Result
from estbench.workflows.comparison import Finished
from estbench.workflows.request import CellDone


class Progress:
    """Displays a comparison: a progress bar and failures on stderr, everything else on the screen.

    Args:
        screen: the screen.
    """

    def __init__(self, screen: Console) -> None:
        self._screen = screen

    def planned(self, plan: Plan, candidates: int) -> None:
        """Prints what will be measured."""
        if candidates:
            self._screen.print(f"{candidates} candidates to choose from on validation, then")
        tasks = {str(cell.task) for cell in plan.cells}
        estimators = {str(spec) for cell in plan.cells for spec in cell.estimators}
        measures = ", ".join(dict.fromkeys(cell.measure.name for cell in plan.cells))
        what = f"{len(estimators)} estimators on {len(tasks)} tasks, measuring {measures}"
        self._screen.print(f"{len(plan.cells)} cells: {what}.")

    @contextlib.contextmanager
    def measuring(self, cells: int) -> Iterator[CellDone]:
        """Shows a progress bar with this number of cells."""
        with tqdm(total=cells, unit="cell", dynamic_ncols=True) as bar:
            yield functools.partial(_show, bar)

    def finished(self, found: Finished) -> int:
        """Shows the results; returns the exit code: 1 if a cell failed, 130 if the comparison was interrupted."""
        for table in found.tables:
            text = isinstance(table, str)
            self._screen.print(table, markup=not text, end="" if text else "\n")
        counts = Counter(
            status for result in found.results.values() for status in set(result.table["status"].to_pylist()) - {"ok"}
        )
        if found.page is not None:
            for status, count in sorted(counts.items()):
                self._screen.print(f"{count} cells {status}; the reasons are in the report.")
            if counts["failed"]:
                self._screen.print("Failed cells are kept; --retry-failed measures them again.")
            self._screen.print(f"Report: {escape(str(found.page))}")
        if found.interrupted:
            self._screen.print("Interrupted; what was measured is kept: the same command goes on from here.")
            return 130
        return int(bool(counts["failed"]))


def _show(bar: "tqdm[Never]", cell: Cell, result: Result, kept: bool) -> None:
    """Advances the bar by one cell."""
    bar.set_postfix_str("kept" if kept else str(cell)[:60], refresh=not kept)
    bar.update()
    if kept:
        return
    for error in result.failures:
        bar.write(f"failed: {cell}: {error}", file=sys.stderr)
    if result.about.get("note"):
        bar.write(f"{cell}: {result.about['note']}", file=sys.stderr)
