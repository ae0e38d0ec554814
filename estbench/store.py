"""Results: one table of rows, kept cell by cell."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from estbench.spec import UserError

COLUMNS = (
    "task",
    "estimator",
    "params",
    "chosen",
    "seed",
    "device",
    "dtype",
    "measure",
    "metric",
    "step",
    "seconds",
    "value",
    "low",
    "high",
    "unit",
    "n",
    "status",
    "error",
    "picture",
)


class Store:
    """A folder with one Parquet file per cell, written atomically.

    Args:
        folder: where the files are; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot keep results in {folder}: {error.strerror}") from error

    def get(self, key: str) -> pd.DataFrame | None:
        """The rows of a cell; None if it was not measured, or its file is damaged (and then removed)."""
        path = self._path(key)
        if not path.exists():
            return None
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError):
            path.unlink(missing_ok=True)
            return None

    def put(self, key: str, rows: pd.DataFrame) -> None:
        """Keeps the rows of a cell."""
        write_atomically(self._path(key), rows.to_parquet(index=False))

    def collect(self, keys: Iterable[str]) -> pd.DataFrame:
        """The rows of these cells, as far as they were measured, in their order."""
        found = [rows for key in keys if (rows := self.get(key)) is not None]
        return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=list(COLUMNS))

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.parquet"


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file that is there whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # temporary files are their owner's alone; results are for others to read
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
