"""Inline: one cell after another, in this process."""

import time
from collections.abc import Iterator, Sequence

from estbench.errors import UserError
from estbench.execution.executors.base import Executor, Failure, Job, Outcome, Work, alone_last
from estbench.runtime.guard import DeviceLostError, OutOfTimeError, time_limit


class Inline(Executor):
    """Measures cells in this process: what ends the process ends the run, and so does the loss of its GPU."""

    workers = 1

    def __init__(self) -> None:
        self._lost = ""

    def run(self, jobs: Sequence[Job], work: Work) -> Iterator[tuple[Job, Outcome]]:
        """Yields each job with its result as it is done.

        Raises:
            UserError: the GPU does no longer answer this process, and there are jobs left.
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
