"""Local: cells in worker processes of this machine, timing cells alone afterwards."""

from collections.abc import Callable, Iterator, Sequence

import pandas as pd
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from estbench.plan import Cell
from estbench.spec import UserError


class Local:
    """Measures cells in processes.

    Args:
        workers: how many processes.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"the local executor needs at least 1 worker; got {workers}")
        self.workers = workers

    def run(
        self, cells: Sequence[Cell], measure: Callable[[Cell], pd.DataFrame]
    ) -> Iterator[tuple[Cell, pd.DataFrame]]:
        """Yields each cell with its rows as it is done.

        Raises:
            UserError: a worker was killed.
        """
        shared = [cell for cell in cells if not cell.joint]
        parallel = Parallel(n_jobs=self.workers, return_as="generator_unordered", batch_size=1)
        try:
            yield from parallel(delayed(_single)(measure, cell) for cell in shared)
        except TerminatedWorkerError as error:
            raise UserError(
                "a worker process was killed (out of memory?); finished cells are kept: the same command goes on, "
                "and with --executor inline nothing runs beside it"
            ) from error
        for cell in cells:
            if cell.joint:
                yield cell, measure(cell)


def _single(measure: Callable[[Cell], pd.DataFrame], cell: Cell) -> tuple[Cell, pd.DataFrame]:
    """Measures in a worker; as there is one a core, each takes one thread."""
    import torch  # noqa: PLC0415  (in the worker)

    torch.set_num_threads(1)
    return cell, measure(cell)
