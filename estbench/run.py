"""Running: a cell becomes rows, whatever happens in it."""

import contextlib
import dataclasses
import functools
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from estbench.checkpoints import Checkpoints
from estbench.environment import commit, machine
from estbench.estimator import Estimator
from estbench.executors.base import Executor, Failure, Job, Outcome
from estbench.guard import muted
from estbench.measure._journal import Journal, NoJournal
from estbench.measure.base import Bench, Row, verdict
from estbench.plan import Cell, Plan
from estbench.plugins import Catalogue, discover
from estbench.spec import Spec
from estbench.store import Result, Store
from estbench.task import Task


@dataclass(frozen=True)
class Work:
    """What makes a result of a job, in whatever process.

    Args:
        store: folder of the store, for checkpoints.
        checkpoint: seconds from one checkpoint to the next.
        timeout: seconds after which a cell is given up; None for no limit.
        threads: of torch; None for one, and for torch's own choice where a cell has the machine to itself.
    """

    store: Path
    checkpoint: float = 60.0
    timeout: float | None = None
    threads: int | None = None

    def __call__(self, job: Job) -> Result:
        """The result of a job; what goes wrong in it is a row.

        Nothing that a plugin prints is let through, and no process that it forks gets any further.
        """
        cell, process, started = job.cell, os.getpid(), time.perf_counter()
        journal = Checkpoints(Store(self.store), job.entry, self.checkpoint)
        with muted(), _threads(self.threads or (None if cell.joint else 1)):
            rows = _measure(cell, journal)
            if os.getpid() != process:
                os._exit(0)
            about = {
                "cell": cell.about,
                "seconds": round(time.perf_counter() - started, 3),
                "finished": time.time(),
                "machine": machine(),
            }
        return Result.of(rows, about)

    def keep(self, job: Job, outcome: Outcome) -> None:
        """Keeps what came of a job from where it was measured; elsewhere the driver does."""
        _keep(Store(self.store), job, outcome, commit())

    def kept(self, job: Job, since: float) -> Result | None:
        """What was kept of a job since a time (``time.time``)."""
        result = Store(self.store).get(job.entry)
        return result if result is not None and result.about["finished"] >= since else None


def _keep(store: Store, job: Job, outcome: Outcome, version: Mapping[str, Any]) -> Result:
    """Keeps what came of a job, with the version of the code that it came from."""
    result = failed(job.cell, outcome) if isinstance(outcome, Failure) else outcome
    result = dataclasses.replace(result, about={**result.about, **version})
    store.put(job.entry, result)
    return result


def run(
    plan: Plan, store: Store, executor: Executor, work: Work, *, retry_failed: bool = False
) -> Iterator[tuple[Cell, Result, bool]]:
    """Measures the cells that the store does not hold.

    Args:
        plan: the cells.
        store: keeps their results.
        executor: where they are measured.
        work: how.
        retry_failed: whether to measure failed ones again.

    Yields:
        Each cell with its result as it is done, and whether it was in the store.

    Raises:
        UserError: a result cannot be kept.
    """
    known = store.find(plan.entries.values())
    missing = []
    for cell, entry in plan.entries.items():
        result = known.get(entry.name)
        if result is None or (retry_failed and result.failures):
            missing.append(Job(cell, entry))
        else:
            yield cell, result, True
    if not missing:
        return
    store.check_writable()
    version = commit()
    for job, outcome in executor.run(missing, work):
        yield job.cell, _keep(store, job, outcome, version), False


def failed(cell: Cell, failure: Failure) -> Result:
    """The result of a cell whose process did not return."""
    row = Row(status="failed", error=failure.reason)
    about = {"cell": cell.about, "seconds": round(failure.seconds, 3), "finished": time.time(), "machine": None}
    return Result.of([_record(cell, spec, row) for spec in cell.estimators], about)


def measure(cell: Cell) -> pd.DataFrame:
    """The rows of a cell; a failure is a row too."""
    return Result.of(_measure(cell, NoJournal())).rows


def _measure(cell: Cell, journal: Journal) -> list[dict[str, Any]]:
    by_label = {str(spec): spec for spec in cell.estimators}
    rows: list[dict[str, Any]] = []
    try:
        shared = _bench(cell.task, cell.files, cell.seed, cell.device, cell.dtype)
        bench = dataclasses.replace(shared, cell=cell.identity, journal=journal)
        makers = {
            label: functools.partial(_estimator, cell.files, spec, cell.dtype) for label, spec in by_label.items()
        }
        for label, row in _catalogue("measure", cell.files).make(cell.measure).rows(bench, makers):
            if label in by_label:
                rows.append(_record(cell, by_label[label], row))
    except (Exception, SystemExit) as error:  # noqa: BLE001  (a plugin may raise anything)
        rows = [_record(cell, spec, verdict(error)) for spec in cell.estimators]
    return rows


def task_of(cell: Cell) -> Task:
    """The task of a cell."""
    return _bench(cell.task, cell.files, cell.seed, cell.device, cell.dtype).task


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _record(cell: Cell, spec: Spec, row: Row) -> dict[str, Any]:
    options = {**cell.task.options, **spec.options}
    chosen = {name: options[name] for name in cell.tuned if name in options}
    return {
        "task": str(cell.task.without(cell.tuned)),
        "estimator": spec.name,
        "params": spec.without(cell.tuned).params,
        "chosen": json.dumps(chosen, sort_keys=True),
        "seed": cell.seed,
        "device": cell.device,
        "dtype": cell.dtype,
        "measure": cell.measure.name,
        **vars(row),
    }


@functools.lru_cache(maxsize=8)
def _catalogue(kind: str, files: tuple[str, ...]) -> Catalogue:
    return discover(kind, files)


@functools.lru_cache(maxsize=2)
def _bench(task: Spec, files: tuple[str, ...], seed: int, device: str, dtype: str) -> Bench:
    made = _catalogue("task", files).make(task)
    baseline = functools.partial(_estimator, files, Spec.one(made.baseline), dtype)
    oracle = functools.partial(_oracle, files, made.oracle, dtype) if made.oracle else None
    recipe = functools.partial(_bench, task, files, seed, device, dtype)
    return Bench(made, seed, torch.device(device), getattr(torch, dtype), baseline, oracle, recipe=recipe)


def _estimator(files: tuple[str, ...], spec: Spec, dtype: str) -> Estimator:
    return _catalogue("estimator", files).make(spec).to(getattr(torch, dtype))


def _oracle(files: tuple[str, ...], name: str, dtype: str, bound: int) -> Estimator:
    return _estimator(files, Spec(name, {"samples": bound}), dtype)
