"""Exports results in other formats."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from estbench.core.metrics import Metrics
from estbench.errors import UserError, nearest
from estbench.store import declared
from estbench.store.files import check_folder, make_folder, write_atomically
from estbench.store.records import csv, joined, parquet
from estbench.store.run_folder import RunFolder, read_results
from estbench.store.store import Store


@dataclass(frozen=True)
class Loaded:
    """Results that were read.

    Args:
        rows: as in docs/reference/results.md.
        metrics: what their measures declare.
    """

    rows: pd.DataFrame
    metrics: Metrics


def load_results(source: Path) -> Loaded:
    """The results of a run's folder, of a Parquet file of results, or of all cells in a store.

    Raises:
        UserError: there are none.
    """
    if source.is_file() or RunFolder(source).measured():
        return Loaded(read_results(source), declared.of_run(source))
    store = Store(source)
    found = [result for path in store.files() if (result := store.load(path)) is not None]
    if not found:
        raise UserError(f"{source} holds no results: it is neither the folder of a run nor a store with cells")
    return Loaded(joined(found), declared.of_results(found))


@dataclass(frozen=True)
class TableOptions:
    """How LaTeX tables look.

    Args:
        columns: the keys of the columns, in their order; None for those of every table.
        width: the width in points that they fit into; None for a column of 252 points.
    """

    columns: Sequence[str] | None = None
    width: float | None = None


def export(source: Path, to: Path | None, formats: Sequence[str], tables: TableOptions = TableOptions()) -> list[Path]:
    """Writes results in other formats; returns the files.

    Args:
        source: a run's folder, a Parquet file of results, or a store.
        to: folder to write to; None for the one that the results are in.
        formats: of ``csv``, ``parquet``, ``json`` and ``latex``.
        tables: how LaTeX tables look.

    Raises:
        UserError: there are no results, no format is named, a format or column is unknown, or columns or a width are
            given without ``latex``.
    """
    if not formats:
        raise UserError(f"name at least one format of {', '.join(_WRITERS)}; got none")
    for name in formats:
        if name not in _WRITERS:
            raise UserError(f"unknown format {name!r}; {nearest(name, _WRITERS)}")
    if tables != TableOptions() and "latex" not in formats:
        raise UserError(f"columns and width are those of LaTeX tables; got the format {', '.join(formats)}")
    folder = to or (source if source.is_dir() else source.parent)
    check_folder(folder)
    results = load_results(source)
    contents = {folder / _WRITERS[name][0]: _WRITERS[name][1](results, tables) for name in dict.fromkeys(formats)}
    make_folder(folder)
    for file, content in contents.items():
        write_atomically(file, content)
    return list(contents)


def _csv(results: Loaded, _: TableOptions) -> bytes:
    return csv(results.rows)


def _parquet(results: Loaded, _: TableOptions) -> bytes:
    return parquet(results.rows)


def _json(results: Loaded, _: TableOptions) -> bytes:
    # all digits: 15 are not enough for a double
    return results.rows.to_json(orient="records", indent=1, double_precision=15).encode()


def _latex(results: Loaded, tables: TableOptions) -> bytes:
    from estbench.report.formats import latex  # noqa: PLC0415  (slow)
    from estbench.report.model.study import Study  # noqa: PLC0415

    study = Study.of(results.rows, metrics=results.metrics)
    width = {} if tables.width is None else {"width": tables.width}
    return latex.render(study, tables.columns, **width).encode()


_WRITERS: Mapping[str, tuple[str, Callable[[Loaded, TableOptions], bytes]]] = {
    "csv": ("results.csv", _csv),
    "parquet": ("results.parquet", _parquet),
    "json": ("results.json", _json),
    "latex": ("tables.tex", _latex),
}
