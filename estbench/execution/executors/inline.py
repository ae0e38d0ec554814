"""Inline: measures one cell after another in this process."""

import time
from collections.abc import Iterator, Sequence

from estbench.errors import UserError
from estbench.execution.executors.base import Executor, Failure, Job, Outcome, Work, alone_last
from estbench.runtime.guard import DeviceLostError, OutOfTimeError, time_limit


class Inline(Executor):
    """Measures cells in this process; a cell that ends the process or loses its GPU ends the run."""

    workers = 1

    def __init__(self) -> None:
        self._lost = ""

    def run(self, jobs: Sequence[Job], work: Work) -> Iterator[tuple[Job, Outcome]]:
        """Yields each job with its result when it is done.

        Raises:
            UserError: the GPU no longer answers this process, and there are further jobs.
        """
        shared, alone = alone_last(jobs)
        for job in (*shared, *alone):
            if self._lost:
                raise UserError(f"no further cell can be measured in this process, use --executor local: {self._lost}")
            yield job, self._outcome(job, work)

    def _outcome(self, job: Job, work: Work) -> Outcome:
        started = time.monotonic()
        try:
            with time_limit(work.timeout):
                return work(job)
        except DeviceLostError as error:
            self._lost = str(error)
            return Failure(self._lost, time.monotonic() - started)
        except OutOfTimeError as error:
            return Failure(str(error), time.monotonic() - started)
