"""What an executor implements."""

import abc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeAlias

from estbench.planning.cell import Cell
from estbench.store.cell_file import Entry
from estbench.store.records import Result


@dataclass(frozen=True)
class Job:
    """A cell to be measured.

    Args:
        cell: the cell.
        entry: what its result is kept under.
        along: others that are measured together with it.
        auto: whether they are only if that is faster, which shows where they are measured.
    """

    cell: Cell
    entry: Entry
    along: tuple["Job", ...] = ()
    auto: bool = False

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Its cells."""
        return tuple(single.cell for single in self.singles)

    @property
    def singles(self) -> tuple["Job", ...]:
        """Its cells as a job each."""
        return (Job(self.cell, self.entry), *self.along)


@dataclass(frozen=True)
class Failure:
    """A job whose process did not return a result.

    Args:
        reason: why, in one line.
        seconds: how long it had been at work.
    """

    reason: str
    seconds: float = 0.0


class Work(Protocol):
    """What makes a result of a job; it can be pickled.

    Attributes:
        timeout: seconds after which a job is given up; None for no limit.
    """

    @property
    def timeout(self) -> float | None:
        """Seconds after which a job is given up."""

    def __call__(self, job: Job) -> "Done":
        """The result; of each of its cells where it has several."""

    def keep(self, job: Job, outcome: "Outcome") -> None:
        """Keeps what came of a job from where it was measured; elsewhere the driver does."""

    def kept(self, job: Job, since: float) -> "Done | None":
        """What was kept of a job since a time (``time.time``)."""


Done: TypeAlias = Result | tuple[Result, ...]
Outcome: TypeAlias = Done | Failure


def altered(outcome: Outcome) -> bool:
    """Whether the code of a job left its process otherwise than it found it."""
    results = outcome if isinstance(outcome, tuple) else (outcome,)
    return any(isinstance(result, Result) and bool(result.about.get("altered")) for result in results)


class Executor(abc.ABC):
    """Measures cells somewhere, in any order, timing cells alone and after the others.

    An option ``workers``, if its constructor has one, is what ``--workers`` sets.

    Attributes:
        workers: jobs at once; 0 if that is not known beforehand.
        elsewhere: whether it measures cells on other machines, which may have devices that this one has not; a literal,
            as it is read before the file is imported.
    """

    workers: int
    elsewhere: ClassVar[bool] = False

    def refusal(self, device: str) -> str:  # noqa: ARG002
        """Why it cannot measure cells on a device such as ``cpu``, ``cuda`` or ``cuda:1``; empty if it can."""
        return ""

    @abc.abstractmethod
    def run(self, jobs: Sequence[Job], work: Work) -> Iterator[tuple[Job, Outcome]]:
        """Yields each job with what came of it as it is done."""


def alone_last(jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
    """Jobs that may run side by side, and those that need the machine to themselves."""
    return [job for job in jobs if not job.cell.joint], [job for job in jobs if job.cell.joint]
