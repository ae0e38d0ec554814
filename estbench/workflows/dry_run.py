"""Dry run: the cells of a suite, which of them are kept, and an estimate of the time for the others."""

import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from estbench.execution import executors
from estbench.planning.cell import Cell
from estbench.plugins.registry import Plugins
from estbench.store.records import Result
from estbench.store.store import Store
from estbench.workflows.comparison import prepare
from estbench.workflows.request import Request

# the columns that determine the times of cells, the most important first
_ALIKE = (("task", "estimators", "measure"), ("task", "measure"), ("measure",))


@dataclass(frozen=True)
class Preview:
    """What a request would measure.

    Args:
        states: of each cell, what would be done: ``measure``, ``continue`` from a checkpoint, ``again`` after a
            failure, or nothing, as it is ``kept`` or has ``failed``.
        summary: how many cells there are, and how long the others may take.
    """

    states: Mapping[Cell, str]
    summary: str


def preview(request: Request, plugins: Plugins) -> Preview:
    """Finds out what a request would measure; measures and writes nothing.

    Raises:
        UserError: the request cannot be met.
    """
    prepared = prepare(request, plugins)
    store = Store(request.store)
    entries = {**(prepared.trials.plan.entries if prepared.trials else {}), **prepared.plan.entries}
    kept = store.find(entries.values())
    started = {path.parent.name for path in store.states()}
    states = {cell: _state(kept.get(entry.name), started, entry.key, request) for cell, entry in entries.items()}
    missing = [cell for cell, state in states.items() if state not in ("kept", "failed")]
    workers = _workers(request, prepared.plan.cells[0].device)
    counts = f"{len(states)} cells, {len(states) - len(missing)} of them kept."
    return Preview(states, f"{counts} {_estimate(missing, store, workers)}")


def _state(result: Result | None, started: Collection[str], key: str, request: Request) -> str:
    if result is not None:
        return ("again" if request.retry_failed else "failed") if result.failures else "kept"
    return "continue" if key in started else "measure"


def _workers(request: Request, device: str) -> int:
    return executors.make(request.executor, request.workers, device).workers or 1


def _estimate(missing: Iterable[Cell], store: Store, workers: int) -> str:
    """Estimates the time of cells from the times of similar cells in the store."""
    missing = list(missing)
    if not missing:
        return "Nothing is left to measure."
    speeds = _speeds(result.about for path in store.files() if (result := store.load(path)) is not None)
    side_by_side, alone, unknown = 0.0, 0.0, 0
    for cell in missing:
        seconds = _seconds(cell.about, speeds)
        unknown += seconds is None
        if cell.joint:
            alone += seconds or 0.0
        else:
            side_by_side += seconds or 0.0
    if unknown == len(missing):
        return f"How long {unknown} cells take is not known: none like them has been measured yet."
    total = _time(side_by_side / workers + alone)
    rest = f", and {unknown} cells of which none like them has been measured yet" if unknown else ""
    return f"About {total} on {workers} worker{'s' * (workers > 1)}{rest}."


def _speeds(known: Iterable[Mapping[str, Any]]) -> dict[tuple[Any, ...], float]:
    """Median seconds per unit of budget of cells that agree in some columns."""
    found = defaultdict(list)
    for about in known:
        for names in _ALIKE:
            found[_group(about["cell"], names)].append(about["seconds"] / _units(about["cell"]))
    return {group: statistics.median(values) for group, values in found.items()}


def _seconds(cell: Mapping[str, Any], speeds: Mapping[tuple[Any, ...], float]) -> float | None:
    groups = (_group(cell, names) for names in _ALIKE)
    return next((speeds[group] * _units(cell) for group in groups if group in speeds), None)


def _group(cell: Mapping[str, Any], names: tuple[str, ...]) -> tuple[Any, ...]:
    return names, cell["device"], *(str(cell[name]) for name in names)


def _units(cell: Mapping[str, Any]) -> float:
    """The amount of measurement, in units to which the time is roughly proportional."""
    units = 1.0
    for amount in cell["budget"].values():
        units *= amount
    return units


def _time(seconds: float) -> str:
    """A time in words."""
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{max(seconds, 1):.0f} seconds"
