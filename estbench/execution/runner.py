"""Runs the jobs of a plan and keeps their results in a store."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from estbench.engine.base import Row
from estbench.execution.batching import Ensembles
from estbench.execution.cell_runner import CellRunner, Record, forget
from estbench.execution.executors.base import Done, Executor, Failure, Job, Outcome
from estbench.execution.observation import marked, observed
from estbench.planning.cell import Cell
from estbench.planning.plan import Plan
from estbench.plugins.registry import Plugins
from estbench.runtime.device import check_answers
from estbench.runtime.environment import commit, machine
from estbench.runtime.guard import DeviceLostError, muted, pass_on
from estbench.runtime.precision import arithmetic
from estbench.store.checkpoints import Checkpoints
from estbench.store.records import Result
from estbench.store.store import Store


@dataclass(frozen=True)
class CellWork:
    """Measures a job, in any process.

    Args:
        plugins: the plugins that the cells use.
        store: folder of the store, for checkpoints.
        checkpoint: seconds from one checkpoint to the next.
        timeout: seconds after which a cell counts as failed; None for no limit.
        threads: number of torch threads; None for one, and for torch's default in cells that run alone.
    """

    plugins: Plugins
    store: Path
    checkpoint: float = 60.0
    timeout: float | None = None
    threads: int | None = None

    def __call__(self, job: Job) -> Done:
        """The results of a job's cells; a failure is a row too.

        Output of plugins is discarded, and processes that they fork are ended.

        Raises:
            DeviceLostError: the GPU no longer answers this process, which is to be ended.
        """
        jobs, started = job.singles, time.perf_counter()
        where = job.cell.device, job.cell.dtype
        runner = CellRunner(self.plugins)
        with muted(), _threads(self.threads or (None if job.cell.joint else 1)), arithmetic(*where):
            found, altered = self._measured(runner, job)
            # what a measure has caught may have been an error that persists
            check_answers(torch.device(job.cell.device))
            about = {
                # each of the cells that are measured together has its share of the time
                "seconds": round((time.perf_counter() - started) / len(jobs), 3),
                "finished": time.time(),
                "machine": machine(job.cell.device),
            }
        results = [
            Result.of(
                [record.columns for record in records],
                {"cell": cell.about, **about, "metrics": runner.declared(cell, records), "note": note},
            )
            for cell, (records, note) in zip(job.cells, found, strict=True)
        ]
        return marked(results, altered) if job.along else marked(results, altered)[0]

    def _measured(self, runner: CellRunner, job: Job) -> tuple[list[tuple[list[Record], str]], list[str]]:
        """The rows and the note of each cell, and the changes in this process, which have been undone."""
        cells = {each.cell: Checkpoints(Store(self.store), each.entry, self.checkpoint) for each in job.singles}
        process = os.getpid()
        # on a GPU there may be a remark on a single cell, too
        together = job.along or (job.cell.device != "cpu" and not job.cell.joint)
        altered: list[str] = []
        foreign = any(self.plugins.foreign(cell.used) for cell in cells)
        try:
            with observed(foreign) as altered:
                if together:
                    found = runner.together(cells, auto=job.auto)
                else:
                    found = [(runner.alone(job.cell, cells[job.cell]), "")]
        except DeviceLostError:
            raise
        except BaseException as error:  # noqa: BLE001  (where code of others has changed our own, that raises anything)
            pass_on(error)
            found = [(runner.failed(cell, error), "") for cell in cells]
        finally:
            if os.getpid() != process:
                # a copy of this process, which a plugin has forked
                os._exit(0)
        if foreign:
            forget()
        return found, altered

    def keep(self, job: Job, outcome: Outcome) -> None:
        """Keeps the results of a job in the process that measured it; with some executors the main process does."""
        for single, own in _singly(job, outcome):
            _keep(CellRunner(self.plugins), Store(self.store), single, own, commit())

    def kept(self, job: Job, since: float) -> Done | None:
        """The results of a job that were kept since a time (``time.time``)."""
        found = [Store(self.store).get(single.entry) for single in job.singles]
        results = tuple(result for result in found if result is not None and result.about["finished"] >= since)
        if len(results) < len(found):
            return None
        return results if job.along else results[0]


def _singly(job: Job, outcome: Outcome) -> Iterator[tuple[Job, Result | Failure]]:
    """The result of each cell of a job."""
    for number, single in enumerate(job.singles):
        yield single, outcome[number] if isinstance(outcome, tuple) else outcome


def _keep(runner: CellRunner, store: Store, job: Job, outcome: Result | Failure, version: Mapping[str, Any]) -> Result:
    """Keeps the results of a job, with the version of the code."""
    result = failed(runner, job.cell, outcome) if isinstance(outcome, Failure) else outcome
    result = dataclasses.replace(result, about={**result.about, **version})
    store.put(job.entry, result)
    return result


def run(
    plan: Plan,
    store: Store,
    executor: Executor,
    work: CellWork,
    *,
    retry_failed: bool = False,
    ensembles: Ensembles = Ensembles(),  # noqa: B008  (immutable)
) -> Iterator[tuple[Cell, Result, bool]]:
    """Measures the cells that the store does not hold.

    Args:
        plan: the cells.
        store: keeps their results.
        executor: where they are measured.
        work: measures a job.
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
    version, runner = commit(), CellRunner(plan.plugins, work.timeout)
    jobs = plan.plugins.apart(lambda: ensembles.group(missing, executor.workers, plan.plugins, runner.parameters))
    for job, outcome in _singles(executor, jobs, work):
        yield job.cell, _keep(runner, store, job, outcome, version), False


def _singles(executor: Executor, jobs: Sequence[Job], work: CellWork) -> Iterator[tuple[Job, Result | Failure]]:
    """The result of each cell; if the process of a job died, its cells are measured once more, each in its own job."""
    again: list[Job] = []
    for job, outcome in executor.run(jobs, work):
        if job.along and isinstance(outcome, Failure):
            again += job.singles
        else:
            yield from _singly(job, outcome)
    if again:
        yield from _singles(executor, again, work)


def failed(runner: CellRunner, cell: Cell, failure: Failure) -> Result:
    """The result of a cell whose process did not return."""
    row = Row(status="failed", error=failure.reason)
    about = {"cell": cell.about, "seconds": round(failure.seconds, 3), "finished": time.time(), "machine": None}
    return Result.of([runner.record(cell, spec, row).columns for spec in cell.estimators], about)


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
