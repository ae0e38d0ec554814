"""Batching: decides which cells are measured together as one batch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from estbench.errors import UserError
from estbench.execution.executors.base import Job
from estbench.planning.cell import Cell
from estbench.plugins.grammar import written
from estbench.plugins.options import defaults
from estbench.plugins.registry import Catalogue, Plugins
from estbench.plugins.spec import Spec

# docs/how-to/gpu.md, measured with benchmarks/ensemble.py: a processor is busy with one replica of a larger model, and
# what few replicas gain is not worth that seconds of training are shares of ensembles, which some estimators are not in
CPU_PARAMETERS = 100_000
CPU_REPLICAS = range(4, 33)
CUDA_REPLICAS = range(2, 65)


@dataclass(frozen=True)
class Ensembles:
    """How many cells are measured together.

    Args:
        most: the largest batch; None to choose by the device and the size of the model, 1 for no batches.
    """

    most: int | None = 1

    @classmethod
    def of(cls, text: str) -> Self:
        """Reads ``auto``, ``off`` or a number.

        Raises:
            UserError: the text is something else.
        """
        if text in ("auto", "off"):
            return cls(None if text == "auto" else 1)
        if not text.isdecimal() or int(text) < 1:
            raise UserError(f"--ensemble takes auto, off, or how many replicas at most; got {text!r}")
        return cls(int(text))

    def group(
        self, jobs: Sequence[Job], workers: int, plugins: Plugins, parameters: Callable[[Cell], int]
    ) -> list[Job]:
        """Jobs of several cells each where that is faster, in the order of their first cells.

        Args:
            jobs: jobs of one cell each.
            workers: how many jobs run at once; 0 if that is not known.
            plugins: the plugins that the cells use.
            parameters: returns the number of parameters of a cell's model.
        """
        if self.most == 1:
            return list(jobs)
        kinds: dict[Any, list[Job]] = {}
        for number, job in enumerate(jobs):
            kinds.setdefault(_kind(job.cell, plugins) or number, []).append(job)
        # each worker has something to do if there are as many kinds
        share = -(-workers // max(len(kinds), 1))
        return [each for alike in kinds.values() for each in self._split(alike, share, parameters)]

    def _split(self, jobs: Sequence[Job], workers: int, parameters: Callable[[Cell], int]) -> Iterator[Job]:
        size = self._size(jobs, workers, parameters)
        for start in range(0, len(jobs), size):
            first, *others = jobs[start : start + size]
            yield replace(first, along=tuple(others), auto=self.most is None)

    def _size(self, jobs: Sequence[Job], workers: int, parameters: Callable[[Cell], int]) -> int:
        cell, count = jobs[0].cell, len(jobs)
        if self.most is not None:
            return _evenly(count, self.most)
        fitting = CPU_REPLICAS if cell.device == "cpu" else CUDA_REPLICAS
        # every worker should have a job
        size = _evenly(count, min(fitting[-1], -(-count // (workers or count))))
        if size < fitting[0] or (cell.device == "cpu" and parameters(cell) > CPU_PARAMETERS):
            return 1
        return size


def _evenly(count: int, most: int) -> int:
    """The size of each part when ``count`` is split into as few equal parts of at most ``most`` as possible."""
    return -(-count // -(-count // most))


def _kind(cell: Cell, plugins: Plugins) -> tuple[Any, ...] | None:
    """What cells of one ensemble share, all but seeds and float options; None if the cell is always measured alone."""
    if cell.joint or not plugins.measures[cell.measure.name].load().ensembles:
        return None
    (estimator,) = cell.estimators
    parts = (_fixed(plugins.tasks, cell.task), _fixed(plugins.estimators, estimator))
    return (*parts, str(cell.measure), cell.device, cell.dtype, cell.tuned)


def _fixed(catalogue: Catalogue, spec: Spec) -> tuple[Any, ...]:
    """The name and options of a specification, without options whose value is a float."""
    options = {**defaults(catalogue[spec.name].load()), **spec.options}
    # written as text, since a list from a file cannot be part of a key
    return spec.name, tuple((name, written(value)) for name, value in options.items() if not isinstance(value, float))
