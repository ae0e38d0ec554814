"""What a comparison is asked for, and who follows it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from estbench.planning.cell import Cell
from estbench.planning.plan import Plan
from estbench.plugins.spec import Spec
from estbench.store.records import Result

# width in characters of the tables that are kept beside a report
WIDTH = 160


@dataclass(frozen=True)
class Request:
    """The request of a user.

    Args:
        suite: its file or name.
        overrides: values that replace the suite's.
        parts: which parts of the suite; all if none is named.
        out: folder for the report; None for a new one under ``runs/``.
        store: folder that keeps finished cells.
        threads: of torch; None for its own choice.
        executor: where cells are measured.
        workers: cells at once; None for what the executor makes of the machine.
        timeout: seconds after which a cell counts as failed; None for no limit.
        checkpoint: seconds from one checkpoint to the next.
        retry_failed: whether to measure cells again that failed.
        ensemble: how many cells are measured together at most; or ``auto``, ``off``.
        width: of the tables that are kept beside the report, in characters.
        command: the command line, for the report.
    """

    suite: str
    overrides: Mapping[str, Any]
    parts: tuple[int, ...] = ()
    out: Path | None = None
    store: Path = Path(".estbench")
    threads: int | None = None
    executor: Spec = Spec("auto")  # noqa: RUF009  (immutable)
    workers: int | None = None
    timeout: float | None = None
    checkpoint: float = 60.0
    retry_failed: bool = False
    ensemble: str = "off"
    width: int = WIDTH
    command: str = ""


# called for each finished cell, with its result, and whether that was in the store
CellDone: TypeAlias = Callable[[Cell, Result, bool], None]


class Watcher(Protocol):
    """Whoever follows a comparison while it goes on."""

    def planned(self, plan: Plan, candidates: int) -> None:
        """What will be measured, and how many candidates of tuning before it."""

    def measuring(self, cells: int) -> AbstractContextManager[CellDone]:
        """So many cells are measured now; gives what is told of each."""
