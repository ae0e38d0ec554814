"""The main job: from a suite to a report."""

import datetime as dt
import json
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console
from rich.markup import escape
from tqdm import tqdm

from estbench import executors, report, run, suite, tuning
from estbench import plan as planning
from estbench.environment import environment
from estbench.estimator import Estimator
from estbench.imports import KINDS
from estbench.plugins import discover
from estbench.resolved import resolved
from estbench.spec import UserError
from estbench.store import Store, write_atomically


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
        workers: processes of the local executor; None for one a core.
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


def compare(request: Request, console: Console, *, dry_run: bool = False) -> int:
    """Measures and reports; returns the exit code: 1 if a cell failed.

    Raises:
        UserError: the request cannot be met.
    """
    started = dt.datetime.now(dt.UTC).astimezone()
    for problem in (problem for kind in KINDS for problem in discover(kind, request.files).problems):
        print(f"estbench: {problem}", file=sys.stderr)  # noqa: T201
    wanted = suite.load(request.suite, request.overrides, request.parts)
    _prepare_torch(wanted.device, request.threads)
    trials = planning.trials(wanted, request.files)
    plan = planning.make(wanted, request.files)
    if trials:
        console.print(f"{len(trials.plan.cells)} candidates to choose from on validation, then")
    console.print(f"{len(plan.cells)} cells: {_counts(plan)}.")
    if dry_run:
        for cell in (*(trials.plan.cells if trials else ()), *plan.cells):
            console.print(escape(str(cell)))
        return 0
    out = request.out or Path("runs") / f"{started:%Y%m%d-%H%M%S}"
    out_store, store = Store(out), Store(request.store)
    executor = executors.make(request.executor, request.workers, plan.cells[0].device)
    if trials:
        _, interrupted = _measure(trials.plan, store, executor)
        if interrupted:
            return _interrupted(console)
        plan = planning.make(wanted, request.files, _choose(trials, store, out))
    results, interrupted = _measure(plan, store, executor)
    about = {
        "command": shlex.join(["estbench", *sys.argv[1:]]),
        "suite": wanted.model_dump(),
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.time() - started.timestamp(), 1),
        "seeds": wanted.seeds,
        **environment(),
        **_known(plan, request.files),
        "options": resolved(plan, request.files),
    }
    _write(results, about, out_store.folder)
    for table in report.terminal_table(results):
        console.print(table)
    _close(results, out, console)
    return _interrupted(console) if interrupted else int((results["status"] == "failed").any())


def _interrupted(console: Console) -> int:
    console.print("Interrupted; what was measured is kept: the same command goes on from here.")
    return 130


def _choose(trials: planning.Trials, store: Store, out: Path) -> dict[planning.Pair, planning.Pair]:
    """What tuning chose; all candidates are listed in ``tuning.csv``."""
    keys = {cell: trials.plan.key(cell) for cell in trials.plan.cells}
    rows = {cell: found for cell, key in keys.items() if (found := store.get(key)) is not None}
    chosen, table = tuning.choose(trials, rows)
    write_atomically(out / "tuning.csv", table.to_csv(index=False).encode())
    return chosen


def _prepare_torch(device: str, threads: int | None) -> None:
    if threads:
        torch.set_num_threads(threads)
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"no CUDA device is available here; got --device {device}")


def _counts(plan: planning.Plan) -> str:
    tasks = {str(cell.task) for cell in plan.cells}
    estimators = {str(spec) for cell in plan.cells for spec in cell.estimators}
    measures = [str(measure) for measure in dict.fromkeys(str(cell.measure.name) for cell in plan.cells)]
    return f"{len(estimators)} estimators on {len(tasks)} tasks, measuring {', '.join(measures)}"


def _measure(plan: planning.Plan, store: Store, executor: executors.Executor) -> tuple[pd.DataFrame, bool]:
    """The results of a plan, as far as it got before an interrupt."""
    interrupted = False
    with tqdm(total=len(plan.cells), unit="cell", dynamic_ncols=True) as progress:
        try:
            for cell, rows, cached in run.run(plan, store, executor):
                progress.set_postfix_str("kept" if cached else str(cell)[:60])
                progress.update()
                for error in rows.loc[rows["status"] == "failed", "error"].unique():
                    progress.write(f"failed: {cell}: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            interrupted = True
    return store.collect(plan.key(cell) for cell in plan.cells), interrupted


def _known(plan: planning.Plan, files: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Family and paper of each estimator, for the report."""
    catalogue = discover("estimator", files)
    classes = {spec.name: catalogue[spec.name].load() for cell in plan.cells for spec in cell.estimators}
    return {
        "families": {name: _family(found) for name, found in classes.items()},
        "papers": {name: found.paper for name, found in classes.items() if found.paper},
    }


def _family(estimator: type[Estimator]) -> str:
    """The class right below Estimator among its ancestors."""
    ancestors = estimator.__mro__
    above = ancestors[ancestors.index(Estimator) - 1]
    return "other" if above is estimator else above.__name__


def _write(results: pd.DataFrame, about: dict[str, Any], folder: Path) -> None:
    write_atomically(folder / "results.parquet", results.to_parquet(index=False))
    write_atomically(folder / "results.csv", results.drop(columns="picture").to_csv(index=False).encode())
    write_atomically(folder / "environment.json", (json.dumps(about, indent=2) + "\n").encode())
    report.write(results, about, folder)


def _close(results: pd.DataFrame, out: Path, console: Console) -> None:
    """The last lines on the screen."""
    for status in ("not applicable", "failed"):
        some = results[(results["status"] == status) & (results["metric"] == "")]
        count = len(some.drop_duplicates(["task", "estimator", "params", "measure", "seed"]))
        if count:
            console.print(f"{count} cells {status}; the reasons are in the report.")
    console.print(f"Report: {escape(str(out / 'index.html'))}")
