"""Ray: measures cells on a cluster, or on this machine as a cluster of one."""

import contextlib
import functools
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError, TaskCancelledError, WorkerCrashedError

from estbench.errors import UserError, reason, shorten
from estbench.execution.executors.base import Executor, Failure, Job, Outcome, Work, alone_last
from estbench.runtime.guard import DeviceLostError, last_resort, out_of_time

# time for a worker that has to be started first, which imports torch
_START = 30.0


class Ray(Executor):
    """Measures cells as Ray tasks.

    Every machine of a cluster needs the same installation, and plugin files and the store at the same paths.

    Args:
        address: address of a running cluster; ``auto`` for the one to which this machine belongs, empty to start one
            here.
        workers: number of cells that are measured at once; 0 for as many as the cluster has room for.
        cpus: number of processors that a cell takes, which may be a fraction.
        gpus: number of GPUs that a cell takes, which may be a fraction: with 0.25 four cells share one.
    """

    elsewhere = True

    def __init__(self, address: str = "", workers: int = 0, cpus: float = 1.0, gpus: float = 0.0) -> None:
        if workers < 0 or cpus < 0 or gpus < 0 or cpus + gpus == 0:
            raise ValueError(f"a cell on ray takes some processor or GPU; got {workers=}, {cpus=}, {gpus=}")
        self.address, self.workers, self.cpus, self.gpus = address, workers, cpus, gpus

    def refusal(self, device: str) -> str:
        """Ray hides the GPUs from a cell that does not ask for one."""
        if self.gpus or not device.startswith("cuda"):
            return ""
        return f"ray shows cells no GPU that they do not ask for: --executor 'ray[gpus=1]'; got --device {device}"

    def run(self, jobs: Sequence[Job], work: Work) -> Iterator[tuple[Job, Outcome]]:
        """Yields each job with its outcome when it is done.

        Raises:
            UserError: the cluster cannot be reached, or has no room for a single cell.
        """
        with self._cluster():
            # a worker that dies has failed its cell: it is not tried again behind the user's back; a worker with a GPU
            # does one job only, since the GPU may no longer answer it
            calls = 1 if self.gpus else 0
            task = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=0, max_calls=calls)(_measure)
            shared, alone = alone_last(jobs)
            for some, places in ((shared, self._places()), (alone, 1)):
                yield from _spread(task, some, work, places)

    @contextlib.contextmanager
    def _cluster(self) -> Iterator[None]:
        ours = not ray.is_initialized()
        if ours:
            start = functools.partial(ray.init, log_to_driver=False, logging_level=logging.ERROR)
            try:
                if self.address:
                    start(self.address)
                else:
                    start("local", num_cpus=self.workers or None, include_dashboard=False)
            except (ConnectionError, OSError, RuntimeError, ValueError) as error:
                why = str(error).splitlines()[0]
                raise UserError(f"no ray cluster at address {self.address or 'local'!r}: {why}") from error
        try:
            yield
        finally:
            if ours:
                ray.shutdown()

    def _places(self) -> int:
        """The number of cells that run at once."""
        room: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        wanted = {"CPU": self.cpus, "GPU": self.gpus}
        fits = [int(room.get(name, 0) / amount + 1e-9) for name, amount in wanted.items() if amount]
        if min(fits) < 1:
            raise UserError(f"the ray cluster has no room for a cell of {self.cpus} CPUs and {self.gpus} GPUs")
        return min(self.workers or min(fits), *fits)


def _measure(work: Work, job: Job) -> Outcome:
    """In a worker: measures a job, which fails if its GPU is lost."""
    started = time.monotonic()
    try:
        with last_resort(work.timeout, lambda: None):
            return work(job)
    except DeviceLostError as error:
        return Failure(str(error), time.monotonic() - started)


def _spread(task: Any, jobs: Sequence[Job], work: Work, places: int) -> Iterator[tuple[Job, Outcome]]:
    """Keeps the places busy until all jobs are done."""
    waiting = list(reversed(jobs))
    busy: dict[Any, tuple[Job, float]] = {}
    while waiting or busy:
        while waiting and len(busy) < places:
            job = waiting.pop()
            busy[task.remote(work, job)] = job, time.monotonic()
        done, _ = ray.wait(list(busy), timeout=None if work.timeout is None else 1.0)
        for reference in done:
            job, since = busy.pop(reference)
            yield job, _outcome(reference, since, work.timeout)
        for reference, (job, since) in list(busy.items()):
            # workers end by themselves in time, unless what they run never lets go
            if work.timeout is not None and time.monotonic() - since > work.timeout + _START:
                ray.cancel(reference, force=True)
                del busy[reference]
                yield job, Failure(out_of_time(work.timeout), time.monotonic() - since)


def _outcome(reference: Any, since: float, timeout: float | None) -> Outcome:
    try:
        return ray.get(reference)
    except (WorkerCrashedError, TaskCancelledError):
        late = timeout is not None and time.monotonic() - since >= timeout
        why = out_of_time(timeout) if late and timeout else "its worker process died (out of memory?)"
    except RayTaskError as error:
        why = reason(error.cause)
    except RayError as error:
        why = shorten(reason(error), 300)
    return Failure(why, time.monotonic() - since)
