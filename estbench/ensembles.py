"""Ensembles: which cells are measured together, in one batched program."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from estbench.executors.base import Job
from estbench.options import options_of
from estbench.plan import Cell
from estbench.plugins import Catalogue, discover
from estbench.spec import Spec, UserError

# measured with benchmarks/ensemble.py (docs/gpu.md): above this many parameters a processor is busy with one replica
CPU_PARAMETERS = 20_000
CPU_REPLICAS = 32
# stacked parameters, gradients, and two moments take four times the memory of parameters
CUDA_REPLICAS = 64


@dataclass(frozen=True)
class Ensembles:
    """How many cells are measured together.

    Args:
        most: at most; None for what suits the device and the size of the model, 1 for none.
    """

    most: int | None = 1

    @classmethod
    def of(cls, text: str) -> Self:
        """From ``auto``, ``off`` or a number.

        Raises:
            UserError: it is something else.
        """
        if text in ("auto", "off"):
            return cls(None if text == "auto" else 1)
        if not text.isdecimal() or int(text) < 1:
            raise UserError(f"--ensemble takes auto, off, or how many replicas at most; got {text!r}")
        return cls(int(text))

    def group(self, jobs: Sequence[Job], workers: int, parameters: Callable[[Cell], int]) -> list[Job]:
        """Jobs of several cells each where that is faster, in the order of their first cells.

        Args:
            jobs: of one cell each.
            workers: how many jobs run at once; 0 if that is not known.
            parameters: of the model of a cell.
        """
        if self.most == 1:
            return list(jobs)
        kinds: dict[Any, list[Job]] = {}
        for number, job in enumerate(jobs):
            kinds.setdefault(_kind(job.cell) or number, []).append(job)
        return [each for alike in kinds.values() for each in self._split(alike, workers, parameters)]

    def _split(self, jobs: Sequence[Job], workers: int, parameters: Callable[[Cell], int]) -> Iterator[Job]:
        most = self._most(jobs[0].cell, parameters) if len(jobs) > 1 else 1
        if self.most is None:
            # all workers have something to do
            most = min(most, -(-len(jobs) // (workers or len(jobs))))
        for start in range(0, len(jobs), most):
            first, *others = jobs[start : start + most]
            yield replace(first, along=tuple(others))

    def _most(self, cell: Cell, parameters: Callable[[Cell], int]) -> int:
        if self.most is not None:
            return self.most
        if cell.device != "cpu":
            return CUDA_REPLICAS
        return CPU_REPLICAS if parameters(cell) <= CPU_PARAMETERS else 1


def _kind(cell: Cell) -> tuple[Any, ...] | None:
    """What cells of an ensemble share: all but seeds and numbers; None for what is always measured alone."""
    if cell.joint or not _catalogue("measure", cell.files)[cell.measure.name].load().ensembles:
        return None
    (estimator,) = cell.estimators
    parts = (_fixed("task", cell.files, cell.task), _fixed("estimator", cell.files, estimator))
    return (*parts, str(cell.measure), cell.device, cell.dtype, cell.files, cell.tuned)


def _fixed(kind: str, files: tuple[str, ...], spec: Spec) -> tuple[Any, ...]:
    """A specification without options that are numbers with a fraction."""
    defaults = {name: each.default for name, each in options_of(_catalogue(kind, files)[spec.name].load()).items()}
    options = {**defaults, **spec.options}
    return spec.name, tuple((name, value) for name, value in options.items() if not isinstance(value, float))


@functools.lru_cache(maxsize=8)
def _catalogue(kind: str, files: tuple[str, ...]) -> Catalogue:
    return discover(kind, files)
