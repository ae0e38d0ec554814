"""Displays of a comparison's progress: nothing, or a progress bar."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from estbench.planning.cell import Cell
    from estbench.planning.plan import Plan
    from estbench.store.records import Result
    from estbench.workflows.request import CellDone


class Silence:
    """Shows nothing."""

    def planned(self, plan: "Plan", candidates: int) -> None:
        """Nothing."""

    @contextlib.contextmanager
    def measuring(self, cells: int) -> "Iterator[CellDone]":  # noqa: ARG002
        """Nothing."""
        yield _nothing


class Bar:
    """Shows a bar, in a notebook as its widget where that is installed."""

    def planned(self, plan: "Plan", candidates: int) -> None:
        """Nothing: the bar says how many cells there are."""

    @contextlib.contextmanager
    def measuring(self, cells: int) -> "Iterator[CellDone]":
        """A bar of so many cells, with what is measured at the moment and what failed."""
        from tqdm.auto import tqdm  # noqa: PLC0415  (looks for a notebook)

        with tqdm(total=cells, unit="cell") as bar:
            failed = 0

            def done(cell: "Cell", result: "Result", kept: bool) -> None:
                nonlocal failed
                failed += bool(result.failures)
                what = "kept" if kept else str(cell)[:60]
                bar.set_postfix_str(f"{failed} failed; {what}" if failed else what, refresh=not kept)
                bar.update()

            yield done


def _nothing(cell: "Cell", result: "Result", kept: bool) -> None:
    """Shows nothing of a cell."""
