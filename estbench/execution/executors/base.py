"""The interface of executors."""

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
        entry: the entry of the store under which its result is kept.
        along: other cells that are measured together with it.
        auto: whether they are measured together only if that is faster, which is decided where they are measured.
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
        """One job for each of its cells."""
        return (Job(self.cell, self.entry), *self.along)


@dataclass(frozen=True)
class Failure:
    """A job whose process did not return a result.

    Args:
        reason: the reason in one line.
        seconds: how long the job had been running.
    """

    reason: str
    seconds: float = 0.0


class Work(Protocol):
    """A function that measures a job, which can be pickled.

    Attributes:
        timeout: seconds after which a job is stopped; None for no limit.
    """

    @property
    def timeout(self) -> float | None:
        """Seconds after which a job is stopped; None for no limit."""

    def __call__(self, job: Job) -> "Done":
        """The result of the job, or the results of its cells if it has several."""

    def keep(self, job: Job, outcome: "Outcome") -> None:
        """Keeps the outcome of a job from the process that measured it; with other executors the driver does so."""

    def kept(self, job: Job, since: float) -> "Done | None":
        """The results of a job that were kept since a time (``time.time``)."""


Done: TypeAlias = Result | tuple[Result, ...]
Outcome: TypeAlias = Done | Failure


def altered(outcome: Outcome) -> bool:
    """Whether the code of a job changed its process."""
    results = outcome if isinstance(outcome, tuple) else (outcome,)
    return any(isinstance(result, Result) and bool(result.about.get("altered")) for result in results)


class Executor(abc.ABC):
    """Measures cells somewhere, in any order, timing cells alone and after the others.

    If the constructor has an option ``workers``, ``--workers`` sets it.

    Attributes:
        workers: number of jobs that run at once; 0 if it is not known beforehand.
        elsewhere: whether it measures cells on other machines, which may have other devices than this one. It must be a
            literal, since it is read before the file is imported.
    """

    workers: int
    elsewhere: ClassVar[bool] = False

    def refusal(self, device: str) -> str:  # noqa: ARG002
        """The reason why it cannot measure cells on a device such as ``cpu`` or ``cuda:1``; empty if it can."""
        return ""

    @abc.abstractmethod
    def run(self, jobs: Sequence[Job], work: Work) -> Iterator[tuple[Job, Outcome]]:
        """Yields each job with its outcome when it is done."""


def alone_last(jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
    """The jobs that may run side by side, and the jobs that need the whole machine."""
    return [job for job in jobs if not job.cell.joint], [job for job in jobs if job.cell.joint]
