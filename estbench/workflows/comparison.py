"""The main job: from a suite to a report."""

import contextlib
import datetime as dt
import functools
import shlex
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from tqdm import tqdm

from estbench.errors import UserError
from estbench.execution import executors, runner
from estbench.execution.batching import Ensembles
from estbench.execution.executors.base import Executor
from estbench.plan import plan as planning
from estbench.plan import suite
from estbench.plan.cell import Cell
from estbench.plan.effective_options import resolved
from estbench.plugins.loading import KINDS
from estbench.plugins.registry import discover
from estbench.plugins.spec import Spec
from estbench.runtime.environment import commit, environment, label
from estbench.store import run_folder
from estbench.store.files import make_folder, write_atomically
from estbench.store.records import Result, csv, joined
from estbench.store.store import Store, complain
from estbench.workflows import tuning


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Args:
        suite: its file or name.
        overrides: values that replace the suite's.
        parts: which parts of the suite; all if none is named.
        files: plugin files.
        out: folder for the report; None for a new one under ``runs/``.
        store: folder that keeps finished cells.
        threads: of torch; None for its own choice.
        executor: where cells are measured; its name.
        workers: cells at once; None for what the executor makes of the machine.
        timeout: seconds after which a cell is given up; None for no limit.
        checkpoint: seconds from one checkpoint to the next.
        retry_failed: whether to measure cells again that failed.
        ensemble: how many cells are measured together at most; or ``auto``, ``off``.
    """

    suite: str
    overrides: dict[str, Any]
    parts: tuple[int, ...]
    files: tuple[str, ...]
    out: Path | None
    store: Path
    threads: int | None
    executor: str = "auto"
    workers: int | None = None
    timeout: float | None = None
    checkpoint: float = 60.0
    retry_failed: bool = False
    ensemble: str = "off"


def run_comparison(request: Request, console: Console) -> int:
    """Measures and reports; returns the exit code: 1 if a cell failed.

    Raises:
        UserError: the request cannot be met.
    """
    started = dt.datetime.now(dt.UTC).astimezone()
    wanted, trials, plan = prepare(request)
    executor = executors.make(request.executor, request.workers, plan.cells[0].device)
    Ensembles.of(request.ensemble)
    if trials:
        console.print(f"{len(trials.plan.cells)} candidates to choose from on validation, then")
    console.print(f"{len(plan.cells)} cells: {_counts(plan)}.")
    store = Store(request.store)
    tuned = None
    if trials:
        tried = _measure(trials.plan, store, executor, request)
        if tried.interrupted:
            return _interrupted(console)
        chosen, tuned = tuning.choose(trials, {cell: result.rows for cell, result in tried.results.items()})
        plan = planning.make(wanted, request.files, chosen)
    measured = _measure(plan, store, executor, request)
    store.note(label(commit()), (plan.entries[cell] for cell in measured.results))
    mark = run_folder.mark(plan, measured.results)
    out = run_folder.same(request.out, mark) if not measured.new else None
    if out is None:
        out = request.out or Path("runs") / f"{started:%Y%m%d-%H%M%S}"
        make_folder(out)
        about = {
            "command": shlex.join(["estbench", *sys.argv[1:]]),
            "suite": wanted.model_dump(),
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.time() - started.timestamp(), 1),
            "seeds": wanted.seeds,
            "cells": mark,
            **environment(),
            **run_folder.known(plan, request.files),
            "options": resolved(plan, request.files),
        }
        if tuned is not None:
            write_atomically(out / "tuning.csv", csv(tuned))
        run_folder.write(joined(measured.results.values()), about, out, console)
    else:
        console.print((out / run_folder.TABLES).read_text(encoding="utf-8"), markup=False, end="")
    return _close(measured, out, console)


def _interrupted(console: Console) -> int:
    console.print("Interrupted; what was measured is kept: the same command goes on from here.")
    return 130


def prepare(request: Request) -> tuple[suite.Suite, planning.Trials | None, planning.Plan]:
    """The suite that is asked for, what it tries first, and its plan; problems with plugins are said on stderr.

    Raises:
        UserError: the suite is not valid, or asks for what is not there.
    """
    for problem in (problem for kind in KINDS for problem in discover(kind, request.files).problems):
        complain(problem)
    wanted = suite.load(request.suite, request.overrides, request.parts)
    _check_device(planning.device(wanted.device), wanted.dtype, Spec.one(request.executor).name)
    return wanted, planning.trials(wanted, request.files), planning.make(wanted, request.files)


def _check_device(device: str, dtype: str, executor: str) -> None:
    """Refuses a GPU that is not here, unless cells are measured on other machines, and what it does not compute."""
    if not device.startswith("cuda"):
        if dtype == "tf32":
            raise UserError(f"--dtype tf32 is of GPUs, a CPU would compute in float32; got --device {device}")
        return
    if executor in ("ray", "slurm"):
        return
    if not torch.cuda.is_available():
        raise UserError(f"no CUDA device is available here; got --device {device}")
    there, number = torch.cuda.device_count(), int(device.partition(":")[2] or 0)
    if number >= there:
        raise UserError(f"CUDA devices here are numbered from 0 to {there - 1}; got --device {device}")


def _counts(plan: planning.Plan) -> str:
    tasks = {str(cell.task) for cell in plan.cells}
    estimators = {str(spec) for cell in plan.cells for spec in cell.estimators}
    measures = [str(measure) for measure in dict.fromkeys(str(cell.measure.name) for cell in plan.cells)]
    return f"{len(estimators)} estimators on {len(tasks)} tasks, measuring {', '.join(measures)}"


@dataclass
class _Measured:
    """How far a plan got.

    Args:
        results: by cell.
        new: how many were not in the store.
        interrupted: whether the user stopped it.
    """

    results: dict[Cell, Result]
    new: int = 0
    interrupted: bool = False


def _measure(plan: planning.Plan, store: Store, executor: Executor, request: Request) -> _Measured:
    """The results of a plan in its order, as far as it got before an interrupt."""
    work = runner.CellWork(store.folder.resolve(), request.checkpoint, request.timeout, request.threads)
    how: dict[str, Any] = {"retry_failed": request.retry_failed, "ensembles": Ensembles.of(request.ensemble)}
    measured, found = _Measured({}), {}
    with tqdm(total=len(plan.cells), unit="cell", dynamic_ncols=True) as progress, _terminable():
        say = functools.partial(progress.write, file=sys.stderr)
        try:
            for cell, result, cached in runner.run(plan, store, executor, work, **how):
                found[cell] = result
                measured.new += not cached
                progress.set_postfix_str("kept" if cached else str(cell)[:60], refresh=not cached)
                progress.update()
                for error in () if cached else result.failures:
                    say(f"failed: {cell}: {error}")
                if not cached and result.about.get("note"):
                    say(f"{cell}: {result.about['note']}")
        except KeyboardInterrupt:
            measured.interrupted = True
    measured.results = {cell: found[cell] for cell in plan.cells if cell in found}
    return measured


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Takes a polite request to end, of clusters before they kill or of a terminal that is closed, for Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    wanted = {signal.Signals[name] for name in ("SIGTERM", "SIGHUP") if name in signal.Signals.__members__}
    # under nohup the end of the terminal is no request
    before = {number: signal.getsignal(number) for number in wanted}
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])


def _close(measured: _Measured, out: Path, console: Console) -> int:
    """The last lines on the screen, and the exit code."""
    counts = Counter(
        status for result in measured.results.values() for status in set(result.table["status"].to_pylist()) - {"ok"}
    )
    for status, count in sorted(counts.items()):
        console.print(f"{count} cells {status}; the reasons are in the report.")
    if counts["failed"]:
        console.print("Failed cells are kept; --retry-failed measures them again.")
    console.print(f"Report: {escape(str(out / 'index.html'))}")
    if measured.interrupted:
        return _interrupted(console)
    return int(bool(counts["failed"]))
