"""Running: a cell becomes rows, whatever happens in it."""

import contextlib
import dataclasses
import functools
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from estbench import memory
from estbench.arithmetic import arithmetic, stored
from estbench.checkpoints import Checkpoints
from estbench.ensembles import Ensembles
from estbench.environment import commit, machine
from estbench.estimator import Estimator
from estbench.executors.base import Done, Executor, Failure, Job, Outcome
from estbench.guard import muted
from estbench.measure._journal import Journal, NoJournal
from estbench.measure.base import Bench, Member, Row, verdict
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

    def __call__(self, job: Job) -> Done:
        """The result of a job, or those of its cells; what goes wrong in it is a row.

        Nothing that a plugin prints is let through, and no process that it forks gets any further.
        """
        jobs, process, started = job.singles, os.getpid(), time.perf_counter()
        cells = {each.cell: Checkpoints(Store(self.store), each.entry, self.checkpoint) for each in jobs}
        where = job.cell.device, job.cell.dtype
        # on a GPU there may be something to say of a single one, too
        together = job.along or (job.cell.device != "cpu" and not job.cell.joint)
        with muted(), _threads(self.threads or (None if job.cell.joint else 1)), arithmetic(*where):
            found = _measure_together(cells) if together else [(_measure(job.cell, cells[job.cell]), "")]
            if os.getpid() != process:
                os._exit(0)
            about = {
                # of cells that are measured together each has its share
                "seconds": round((time.perf_counter() - started) / len(jobs), 3),
                "finished": time.time(),
                "machine": machine(),
            }
        results = tuple(
            Result.of(rows, {"cell": cell.about, **about, "note": note})
            for cell, (rows, note) in zip(cells, found, strict=True)
        )
        return results if job.along else results[0]

    def keep(self, job: Job, outcome: Outcome) -> None:
        """Keeps what came of a job from where it was measured; elsewhere the driver does."""
        for single, own in _singly(job, outcome):
            _keep(Store(self.store), single, own, commit())

    def kept(self, job: Job, since: float) -> Done | None:
        """What was kept of a job since a time (``time.time``)."""
        found = [Store(self.store).get(single.entry) for single in job.singles]
        results = tuple(result for result in found if result is not None and result.about["finished"] >= since)
        if len(results) < len(found):
            return None
        return results if job.along else results[0]


def _singly(job: Job, outcome: Outcome) -> Iterator[tuple[Job, Result | Failure]]:
    """What came of each cell of a job."""
    for number, single in enumerate(job.singles):
        yield single, outcome[number] if isinstance(outcome, tuple) else outcome


def _keep(store: Store, job: Job, outcome: Result | Failure, version: Mapping[str, Any]) -> Result:
    """Keeps what came of a job, with the version of the code that it came from."""
    result = failed(job.cell, outcome) if isinstance(outcome, Failure) else outcome
    result = dataclasses.replace(result, about={**result.about, **version})
    store.put(job.entry, result)
    return result


def run(
    plan: Plan,
    store: Store,
    executor: Executor,
    work: Work,
    *,
    retry_failed: bool = False,
    ensembles: Ensembles = Ensembles(),  # noqa: B008  (immutable)
) -> Iterator[tuple[Cell, Result, bool]]:
    """Measures the cells that the store does not hold.

    Args:
        plan: the cells.
        store: keeps their results.
        executor: where they are measured.
        work: how.
        retry_failed: whether to measure failed ones again.
        ensembles: which are measured together; none by default.

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
    jobs = ensembles.group(missing, executor.workers, _parameters)
    for job, outcome in _singles(executor, jobs, work):
        yield job.cell, _keep(store, job, outcome, version), False


def _singles(executor: Executor, jobs: Sequence[Job], work: Work) -> Iterator[tuple[Job, Result | Failure]]:
    """What came of each cell; those of a job whose process did not return are measured once more, each by itself."""
    again: list[Job] = []
    for job, outcome in executor.run(jobs, work):
        if job.along and isinstance(outcome, Failure):
            again += job.singles
        else:
            yield from _singly(job, outcome)
    if again:
        yield from _singles(executor, again, work)


def failed(cell: Cell, failure: Failure) -> Result:
    """The result of a cell whose process did not return."""
    row = Row(status="failed", error=failure.reason)
    about = {"cell": cell.about, "seconds": round(failure.seconds, 3), "finished": time.time(), "machine": None}
    return Result.of([_record(cell, spec, row) for spec in cell.estimators], about)


def measure(cell: Cell) -> pd.DataFrame:
    """The rows of a cell; a failure is a row too."""
    return Result.of(_measure(cell, NoJournal())).rows


def _measure(cell: Cell, journal: Journal) -> list[dict[str, Any]]:
    memory.reuse()
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


def _measure_together(cells: Mapping[Cell, Journal]) -> list[tuple[list[dict[str, Any]], str]]:
    """The rows of each cell, and why it was not measured together with the others."""
    memory.reuse()
    first, data = next(iter(cells)), defaultdict[Spec, dict[Hashable, Any]](dict)
    try:
        members = [_member(cell, journal, data[cell.task]) for cell, journal in cells.items()]
        found = _catalogue("measure", first.files).make(first.measure).together(members)
    except (Exception, SystemExit) as error:  # noqa: BLE001  (a plugin may raise anything)
        return [(_measure(cell, journal), verdict(error).error) for cell, journal in cells.items()]
    each = [[verdict(one.error)] if one.error else one.rows for one in found]
    return [
        ([_record(cell, cell.estimators[0], row) for row in rows], one.note)
        for cell, rows, one in zip(cells, each, found, strict=True)
    ]


def _member(cell: Cell, journal: Journal, data: dict[Hashable, Any]) -> Member:
    """A cell among others; of the same task they share the data."""
    (spec,) = cell.estimators
    shared = _bench(cell.task, cell.files, cell.seed, cell.device, cell.dtype)
    bench = dataclasses.replace(shared, memory=data, cell=cell.identity, journal=journal)
    return Member(bench, str(spec), functools.partial(_estimator, cell.files, spec, cell.dtype))


def _parameters(cell: Cell) -> int:
    """How many parameters the model of a cell has; of a model that cannot be made, too many."""
    try:
        with muted():
            return sum(parameter.numel() for parameter in task_of(cell).model().parameters())
    except (Exception, SystemExit):  # noqa: BLE001  (a plugin may raise anything; the cell itself will say so)
        return sys.maxsize


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
    return Bench(made, seed, torch.device(device), stored(dtype), baseline, oracle, recipe=recipe)


def _estimator(files: tuple[str, ...], spec: Spec, dtype: str) -> Estimator:
    return _catalogue("estimator", files).make(spec).to(stored(dtype))


def _oracle(files: tuple[str, ...], name: str, dtype: str, bound: int) -> Estimator:
    return _estimator(files, Spec(name, {"samples": bound}), dtype)
