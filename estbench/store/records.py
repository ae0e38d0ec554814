"""Results: rows of values, with information about the cell that they come from."""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

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
    "declared": pa.string(),
}
COLUMNS = tuple(TYPES)
# how empty text is written, since CSV readers disagree on whether an empty field is empty text or a missing value
EMPTY = "-"
# first characters of text that spreadsheets take for a formula
_FORMULA = ("=", "+", "-", "@")
# texts that pandas reads as missing values from CSV (pandas.read_csv, na_values)
_MISSING = frozenset(
    ["#N/A", "#N/A N/A", "#NA", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"]
)
SCHEMA = pa.schema(list(TYPES.items()))


# the columns that describe the cell, and the default values of a row without a value
_CELL = ("task", "estimator", "params", "chosen", "seed", "device", "dtype", "measure", "reference", "declared")
_NOTHING: dict[str, str | int] = {"metric": "", "unit": "", "picture": "", "step": 0, "n": 0, "replicas": 1}


@dataclass(frozen=True)
class Result:
    """The result of a cell.

    Args:
        table: its rows, with the columns of docs/reference/results.md.
        about: information that is kept with the rows: the cell, seconds, environment.
    """

    table: pa.Table
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]], about: Mapping[str, Any] | None = None) -> "Result":
        """Makes a result from rows."""
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

    def failing(self, error: str) -> "Result":
        """The same cell, failed for all of its estimators with this reason."""
        first = {(row["estimator"], row["params"]): row for row in reversed(self.table.to_pylist())}
        failed = [
            {name: row[name] for name in _CELL} | _NOTHING | {"status": "failed", "error": error}
            for row in reversed(first.values())
        ]
        return Result.of(failed, self.about)

    @property
    def failures(self) -> list[str]:
        """The reasons of failures, each once."""
        pairs = zip(self.table["status"].to_pylist(), self.table["error"].to_pylist(), strict=True)
        return list(dict.fromkeys(error for status, error in pairs if status == "failed"))


def parquet(rows: pd.DataFrame) -> bytes:
    """Rows as Parquet, with the same type of each column in every file; empty text is ``EMPTY``."""
    written = rows.copy(deep=False)
    for name in _texts(rows):
        written[name] = rows[name].replace("", EMPTY)
    table = pa.Table.from_pandas(written, preserve_index=False)
    for place, name in enumerate(table.column_names):
        if kind := TYPES.get(name):
            table = table.set_column(place, pa.field(name, kind), table[name].cast(kind))
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def from_parquet(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows that were read from Parquet, with empty text as it was before ``parquet`` wrote it."""
    for name in _texts(rows):
        rows[name] = rows[name].replace(EMPTY, "")
    return rows


def csv(rows: pd.DataFrame) -> bytes:
    """Rows as CSV, without pictures; empty text is ``EMPTY``.

    Text that spreadsheets take for a formula, or pandas for a missing value, begins with an apostrophe.
    """
    safe = rows.drop(columns="picture", errors="ignore")
    for name in _texts(safe):
        safe[name] = safe[name].map(_cell)
    return safe.to_csv(index=False).encode()


def _texts(rows: pd.DataFrame) -> list[str]:
    """The columns that hold text; those of pictures are missing where there is none."""
    return [name for name in rows.columns if name != "picture" and not pd.api.types.is_numeric_dtype(rows[name])]


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = plain(value)
    if text in ("", EMPTY):
        return EMPTY
    return f"'{text}" if text.startswith(_FORMULA) or text in _MISSING else text


def joined(results: Iterable[Result]) -> pd.DataFrame:
    """The rows of results in one table."""
    tables = [result.table for result in results]
    return pa.concat_tables(tables).to_pandas() if tables else SCHEMA.empty_table().to_pandas()
