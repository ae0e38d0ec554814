"""Inline: one cell after another, in this process."""

import time
from collections.abc import Iterator, Sequence

from estbench.execution.executors.base import Failure, Job, Outcome, Work, alone_last
from estbench.runtime.guard import OutOfTimeError, time_limit


class Inline:
    """Measures cells in this process: what ends the process ends the run."""

    workers = 1

    def run(self, jobs: Sequence[Job], work: Work) -> Iterator[tuple[Job, Outcome]]:
        """Yields each job with its result as it is done."""
        shared, alone = alone_last(jobs)
        for job in (*shared, *alone):
            yield job, _outcome(job, work)


def _outcome(job: Job, work: Work) -> Outcome:
    started = time.monotonic()
    try:
        with time_limit(work.timeout):
            return work(job)
    except OutOfTimeError as error:
        return Failure(str(error), time.monotonic() - started)
