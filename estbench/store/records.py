"""Results: rows of values, and what is kept with them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pyarrow as pa

from estbench.errors import plain

TYPES = {
    "task": pa.string(),
    "estimator": pa.string(),
    "params": pa.string(),
    "chosen": pa.string(),
    "seed": pa.int64(),
    "device": pa.string(),
    "dtype": pa.string(),
    "measure": pa.string(),
    "metric": pa.string(),
    "step": pa.int64(),
    "seconds": pa.float64(),
    "value": pa.float64(),
    "low": pa.float64(),
    "high": pa.float64(),
    "unit": pa.string(),
    "n": pa.int64(),
    "status": pa.string(),
    "error": pa.string(),
    "picture": pa.string(),
    "replicas": pa.int64(),
    "reference": pa.bool_(),
}
COLUMNS = tuple(TYPES)
# how cells begin that spreadsheets calculate
_FORMULA = ("=", "+", "-", "@")
SCHEMA = pa.schema(list(TYPES.items()))


@dataclass(frozen=True)
class Result:
    """What came of a cell.

    Args:
        table: its rows, with the columns of docs/results.md.
        about: what else is kept with them: the cell, seconds, environment.
    """

    table: pa.Table
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]], about: Mapping[str, Any] | None = None) -> "Result":
        """A result of rows."""
        return cls(pa.Table.from_pylist([dict(row) for row in rows], schema=SCHEMA), about or {})

    @property
    def rows(self) -> pd.DataFrame:
        """The rows."""
        return self.table.to_pandas()

    @property
    def status(self) -> str:
        """The worst status of its rows: ``failed``, ``not applicable``, ``unresolved`` or ``ok``."""
        statuses = set(self.table["status"].to_pylist())
        return next((status for status in ("failed", "not applicable", "unresolved") if status in statuses), "ok")

    @property
    def failures(self) -> list[str]:
        """The reasons of what failed, each once."""
        pairs = zip(self.table["status"].to_pylist(), self.table["error"].to_pylist(), strict=True)
        return list(dict.fromkeys(error for status, error in pairs if status == "failed"))


def csv(rows: pd.DataFrame) -> bytes:
    """Rows as CSV, without pictures; text that spreadsheets take for formulas begins with an apostrophe."""
    safe = rows.drop(columns="picture", errors="ignore")
    for name in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[name]):
            safe[name] = safe[name].map(_cell)
    return safe.to_csv(index=False).encode()


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def joined(results: Iterable[Result]) -> pd.DataFrame:
    """The rows of results in one table."""
    tables = [result.table for result in results]
    return pa.concat_tables(tables).to_pandas() if tables else SCHEMA.empty_table().to_pandas()
