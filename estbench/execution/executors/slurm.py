"""Slurm: measures cells as job arrays of a cluster."""

import contextlib
import functools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import submitit

from estbench.errors import UserError
from estbench.execution.executors.base import Executor, Failure, Job, Outcome, Work, alone_last
from estbench.runtime.guard import DeviceLostError, last_resort, out_of_time


class Slurm(Executor):
    """Measures cells as Slurm jobs, by submitit.

    Every machine needs the same installation, and plugin files and the store at the same paths.

    Args:
        partition: partition of the cluster; empty for its default.
        workers: number of jobs that run at once; 0 for as many as the cluster runs.
        cells: number of cells of a job, which are measured one after another, since a job takes seconds to start.
        cpus: number of processors of a job.
        gpus: number of GPUs of a job.
        memory: memory of a job in GB; 0 for the cluster's default.
        minutes: time limit of a job.
        logs: folder for the logs of jobs, on a file system that all machines share.
        cluster: ``slurm``, or ``local`` for processes of this machine instead.
    """

    elsewhere = True

    def __init__(
        self,
        partition: str = "",
        workers: int = 0,
        cells: int = 1,
        cpus: int = 1,
        gpus: int = 0,
        memory: float = 0.0,
        minutes: int = 240,
        logs: str = ".estbench/slurm",
        cluster: str = "slurm",
    ) -> None:
        if cells < 1 or cpus < 1 or minutes < 1 or min(workers, gpus, memory) < 0:
            raise ValueError(f"a job needs a cell, a processor and a minute; got {cells=}, {cpus=}, {minutes=}")
        self.workers, self.cells = workers, cells
        self._logs, self._cluster = Path(logs), cluster
        self._resources: dict[str, int | float | str | None] = {
            "timeout_min": minutes,
            "cpus_per_task": cpus,
            "gpus_per_node": gpus or None,
            "mem_gb": memory or None,
            "slurm_partition": partition or None,
            "slurm_array_parallelism": workers or 256,
            "name": "estbench",
        }

    def run(self, jobs: Sequence[Job], work: Work) -> Iterator[tuple[Job, Outcome]]:
        """Yields each job with its outcome when it is done.

        Raises:
            UserError: there is no such cluster.
        """
        try:
            executor = submitit.AutoExecutor(folder=self._logs, cluster=self._cluster)
        except (RuntimeError, ValueError) as error:
            raise UserError(f"no cluster of the kind {self._cluster!r} here: {error}") from error
        executor.update_parameters(**{name: value for name, value in self._resources.items() if value is not None})
        shared, alone = alone_last(jobs)
        # a local cluster has no queue of its own
        at_once = self.workers or 2 if self._cluster == "local" else len(shared)
        yield from self._spread(executor, shared, work, max(at_once, 1))
        # no job of another user may run on the machine either
        executor.update_parameters(slurm_exclusive=True)
        yield from self._spread(executor, alone, work, 1)

    def _spread(self, executor: Any, jobs: Sequence[Job], work: Work, places: int) -> Iterator[tuple[Job, Outcome]]:
        """Submits as much as there are places for, as one array, until all jobs are done."""
        groups = [list(jobs[start : start + self.cells]) for start in range(0, len(jobs), self.cells)]
        busy: list[tuple[Any, list[Job], float]] = []
        try:
            while groups or busy:
                some, groups = groups[: places - len(busy)], groups[places - len(busy) :]
                if some:
                    with executor.batch():
                        submitted = [executor.submit(_measure, work, group) for group in some]
                    busy += [(each, group, time.time()) for each, group in zip(submitted, some, strict=True)]
                done = [each for each in busy if each[0].done()]
                busy = [each for each in busy if each not in done]
                for task, group, since in done:
                    outcomes = _outcomes(task, group, since, work)
                    yield from zip(group, outcomes, strict=False)
                    if rest := group[len(outcomes) :]:
                        groups.append(rest)
                if not done:
                    time.sleep(0.2 if self._cluster == "local" else 2.0)
        finally:
            for task, *_ in busy:
                with contextlib.suppress(Exception):
                    task.cancel(check=False)


def _measure(work: Work, jobs: list[Job]) -> list[Outcome]:
    """In a job: keeps each result at once, since the job may be killed before its end.

    If its GPU no longer answers, the job ends, and the remaining cells are submitted again.
    """
    outcomes: list[Outcome] = []
    for job in jobs:
        late = functools.partial(work.keep, job, Failure(out_of_time(work.timeout or 0), work.timeout or 0))
        started, lost = time.monotonic(), False
        try:
            with last_resort(work.timeout, late):
                outcomes.append(work(job))
        except DeviceLostError as error:
            lost = True
            outcomes.append(Failure(str(error), time.monotonic() - started))
        work.keep(job, outcomes[-1])
        if lost:
            break
    return outcomes


def _outcomes(task: Any, jobs: list[Job], since: float, work: Work) -> list[Outcome]:
    """The outcomes of the cells of a job; if it died, those up to the cell that it was measuring."""
    try:
        return task.result()
    except submitit.core.utils.UncompletedJobError as error:
        reason = f"its job died (out of memory or time?): {' '.join(str(error).split())[:160]}"
    except submitit.core.utils.FailedJobError as error:
        reason = f"its job failed: {str(error).strip().splitlines()[-1]}"
    outcomes: list[Outcome] = []
    for job in jobs:
        known = work.kept(job, since)
        outcomes.append(known or Failure(reason, time.time() - since))
        if known is None:
            break
    return outcomes
