"""The comparison: from a suite to a report. It prints nothing; progress goes to a watcher."""

import datetime as dt
import io
import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console, Group

from estbench.core.metrics import Metrics
from estbench.errors import UserError
from estbench.execution import executors, runner
from estbench.execution.batching import Ensembles
from estbench.execution.executors.base import Executor
from estbench.planning import plan as planning
from estbench.planning import resolved, suite
from estbench.planning.cell import Cell
from estbench.planning.plan import Plan
from estbench.planning.trials import Trials, trials
from estbench.plugins.recorded_code import recorded_code
from estbench.plugins.registry import Plugins
from estbench.runtime.environment import commit, commit_label, environment
from estbench.store import declared
from estbench.store.files import digest, make_folder
from estbench.store.records import Result, joined
from estbench.store.run_folder import RunFolder, RunInfo
from estbench.store.store import Store
from estbench.workflows import tuning
from estbench.workflows.end_requests import terminable
from estbench.workflows.request import WIDTH, Request, Watcher


@dataclass(frozen=True)
class Finished:
    """The outcome of a comparison.

    Args:
        results: the results by cell; incomplete if it was interrupted.
        interrupted: whether the user stopped it.
        page: the report; None if it was stopped before there was anything to report.
        tables: for the screen.
    """

    results: Mapping[Cell, Result]
    interrupted: bool
    page: Path | None = None
    tables: tuple[Group | str, ...] = ()


@dataclass(frozen=True)
class Compared:
    """The measured results of a comparison, before the report.

    Args:
        results: the results by cell; incomplete if it was interrupted.
        info: information about the run.
        interrupted: whether the user stopped it.
        new: how many cells were not in the store.
        tuned: what tuning found and chose, where the suite tunes.
    """

    results: Mapping[Cell, Result]
    info: RunInfo
    interrupted: bool
    new: int
    tuned: Any = None


@dataclass(frozen=True)
class Prepared:
    """A checked and resolved request.

    Args:
        suite: what is asked for, as it was written.
        resolved: the same, resolved against the plugins that there are.
        trials: what is tried first, where the suite tunes.
        plan: what is measured then.
    """

    suite: suite.Suite
    resolved: resolved.ResolvedSuite
    trials: Trials | None
    plan: Plan


def prepare(request: Request, plugins: Plugins) -> Prepared:
    """Checks and resolves a request.

    Args:
        request: what is asked for.
        plugins: what there is.

    Raises:
        UserError: the suite is not valid, or asks for what is not there.
    """
    wanted = suite.load_suite(request.suite, request.overrides, request.parts)
    check_device(resolved.device(wanted.device), wanted.dtype, request.executor.name)

    def prepared() -> Prepared:
        found = resolved.ResolvedSuite.of(wanted, plugins, request.timeout)
        return Prepared(wanted, found, trials(found), planning.make(found).settled())

    return plugins.apart(prepared)


def run_comparison(request: Request, plugins: Plugins, watcher: Watcher) -> Finished:
    """Measures and reports.

    Args:
        request: what is asked for.
        plugins: what there is.
        watcher: is informed about the progress.

    Raises:
        UserError: the request cannot be met.
    """
    found = measure_comparison(request, plugins, watcher)
    if not found.results or found.info.cells is None:
        return Finished(found.results, found.interrupted)
    known = None if found.new else _same(request.out, found.info.cells)
    if known is not None:
        return Finished(found.results, found.interrupted, known.page, (known.tables(),))
    folder = RunFolder(request.out or _new_folder(f"{_started(found.info):%Y%m%d-%H%M%S}"))
    if found.tuned is not None:
        folder.write_table("tuning.csv", found.tuned)
    tables = write_report(folder.path, joined(found.results.values()), found.info, request.width)
    return Finished(found.results, found.interrupted, folder.page, tables)


def measure_comparison(request: Request, plugins: Plugins, watcher: Watcher) -> Compared:
    """Measures without a report; the results are kept in the store.

    Args:
        request: what is asked for.
        plugins: what there is.
        watcher: is informed about the progress.

    Raises:
        UserError: the request cannot be met.
    """
    started = dt.datetime.now(dt.UTC).astimezone()
    prepared = prepare(request, plugins)
    plan, tuned = prepared.plan, None
    store = Store(request.store)
    executor = executors.make(request.executor, request.workers, plan.cells[0].device)
    Ensembles.of(request.ensemble)
    watcher.planned(plan, len(prepared.trials.plan.cells) if prepared.trials else 0)
    if prepared.trials:
        tried = _measure(prepared.trials.plan, store, executor, request, watcher)
        if tried.interrupted:
            return Compared(tried.results, RunInfo(), interrupted=True, new=tried.new)
        chosen, tuned = tuning.choose(prepared.trials, {cell: each.rows for cell, each in tried.results.items()})
        plan = plugins.apart(lambda: planning.make(prepared.resolved, chosen).settled())
    measured = _measure(plan, store, executor, request, watcher)
    store.note(commit_label(commit()), (plan.entries[cell] for cell in measured.results))
    metrics = declared.recorded(measured.results.values())
    info = _info(request, prepared.suite, plan, started, _digest(plan, measured.results), metrics)
    return Compared(measured.results, info, measured.interrupted, measured.new, tuned)


def _started(info: RunInfo) -> dt.datetime:
    return dt.datetime.fromisoformat(info.started or "")


def _new_folder(name: str) -> Path:
    """A new folder under ``runs/``; if several comparisons start in the same second, the later ones get a number."""
    make_folder(Path("runs"))
    for number in itertools.count(1):
        place = Path("runs") / (name if number == 1 else f"{name}-{number}")
        try:
            place.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"cannot write {place}: {error.strerror}") from error
        return place
    raise AssertionError("there is no last number")


def _digest(plan: Plan, results: Mapping[Cell, Result]) -> str:
    """A digest that identifies these results."""
    parts = [f"{plan.entries[cell].name} {result.about['finished']!r}" for cell, result in results.items()]
    return digest("\n".join(parts).encode())


def _same(out: Path | None, cells: str) -> RunFolder | None:
    """A folder that already holds the report of these results: the one that is asked for, or the last one."""
    places = [out] if out else sorted(Path("runs").glob("*/"), reverse=True)[:1]
    return next((folder for folder in map(RunFolder, places) if folder.holds(cells)), None)


def _info(
    request: Request, wanted: suite.Suite, plan: Plan, started: dt.datetime, cells: str, metrics: Metrics
) -> RunInfo:
    """The information about the run."""
    own, about = recorded_code(plan.foreign), environment(resolved.device(wanted.device))
    about["versions"] = {**about["versions"], **own.versions}
    return RunInfo(
        command=request.command,
        suite=wanted.model_dump(),
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.time() - started.timestamp(), 1),
        seeds=wanted.seeds,
        cells=cells,
        **about,
        sources=own.sources,
        families=plan.families,
        papers=plan.papers,
        options=plan.options,
        metrics=metrics.to_json(),
        planned=plan.planned,
    )


def write_report(place: Path, results: pd.DataFrame, info: RunInfo, width: int = WIDTH) -> tuple[Group, ...]:
    """Writes results and report into a folder; returns its tables.

    Raises:
        UserError: the folder cannot be written.
    """
    from estbench import report  # noqa: PLC0415  (slow, and not needed where nothing is new)

    folder = RunFolder(place)
    folder.write_results(results)
    report.write(results, info.known, folder.path)
    tables = tuple(report.terminal_table(results, Metrics.from_json(info.metrics), info.planned))
    text = Console(file=io.StringIO(), width=width, record=True, force_jupyter=False)
    for table in tables:
        text.print(table)
    folder.close(info, text.export_text())
    return tables


def check_device(device: str, dtype: str, executor: str) -> None:
    """Refuses a GPU that is not here, unless cells are measured on other machines, and what it does not compute.

    Raises:
        UserError: the cells cannot be measured there.
    """
    if not device.startswith("cuda"):
        if dtype == "tf32":
            raise UserError(f"--dtype tf32 is of GPUs, a CPU would compute in float32; got --device {device}")
        return
    if executors.elsewhere(executor):
        return
    if not torch.cuda.is_available():
        raise UserError(f"no CUDA device is available here; got --device {device}")
    there, number = torch.cuda.device_count(), int(device.partition(":")[2] or 0)
    if number >= there:
        raise UserError(f"CUDA devices here are numbered from 0 to {there - 1}; got --device {device}")


@dataclass
class _Measured:
    """The progress of a plan.

    Args:
        results: by cell.
        new: how many were not in the store.
        interrupted: whether the user stopped it.
    """

    results: dict[Cell, Result]
    new: int = 0
    interrupted: bool = False


def _measure(plan: Plan, store: Store, executor: Executor, request: Request, watcher: Watcher) -> _Measured:
    """The results of a plan in its order, as far as it got before an interrupt."""
    work = runner.CellWork(plan.plugins, store.folder.resolve(), request.checkpoint, request.timeout, request.threads)
    ensembles = Ensembles.of(request.ensemble)
    measured, found = _Measured({}), {}
    with watcher.measuring(len(plan.cells)) as done, terminable():
        try:
            for cell, result, cached in runner.run(
                plan, store, executor, work, retry_failed=request.retry_failed, ensembles=ensembles
            ):
                found[cell] = result
                measured.new += not cached
                done(cell, result, cached)
        except KeyboardInterrupt:
            measured.interrupted = True
    measured.results = {cell: found[cell] for cell in plan.cells if cell in found}
    return measured
