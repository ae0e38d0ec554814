"""Inline: one cell after another, in this process."""

from collections.abc import Iterator, Sequence

from estbench.executors.base import Job, Outcome, Work, alone_last


class Inline:
    """Measures cells in this process: what ends the process ends the run."""

    def run(self, jobs: Sequence[Job], work: Work) -> Iterator[tuple[Job, Outcome]]:
        """Yields each job with its result as it is done."""
        shared, alone = alone_last(jobs)
        for job in (*shared, *alone):
            yield job, work(job)
