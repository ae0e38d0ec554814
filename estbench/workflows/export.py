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


def export(source: Path, to: Path | None, formats: Sequence[str]) -> list[Path]:
    """Writes results in other formats; returns the files.

    Args:
        source: a run's folder, a Parquet file of results, or a store.
        to: folder to write to; None for the one that the results are in.
        formats: of ``csv``, ``parquet``, ``json`` and ``latex``.

    Raises:
        UserError: there are no results, no format is named, or one is unknown.
    """
    if not formats:
        raise UserError(f"name at least one format of {', '.join(_WRITERS)}; got none")
    for name in formats:
        if name not in _WRITERS:
            raise UserError(f"unknown format {name!r}; {nearest(name, _WRITERS)}")
    folder = to or (source if source.is_dir() else source.parent)
    check_folder(folder)
    results = load_results(source)
    make_folder(folder)
    written = []
    for name in dict.fromkeys(formats):
        file, render = _WRITERS[name]
        write_atomically(folder / file, render(results))
        written.append(folder / file)
    return written


def _csv(results: Loaded) -> bytes:
    return csv(results.rows)


def _parquet(results: Loaded) -> bytes:
    return parquet(results.rows)


def _json(results: Loaded) -> bytes:
    # all digits: 15 are not enough for a double
    return results.rows.to_json(orient="records", indent=1, double_precision=15).encode()


def _latex(results: Loaded) -> bytes:
    from estbench.report.formats import latex  # noqa: PLC0415  (slow)
    from estbench.report.model.study import Study  # noqa: PLC0415

    return latex.render(Study.of(results.rows, metrics=results.metrics)).encode()


_WRITERS: Mapping[str, tuple[str, Callable[[Loaded], bytes]]] = {
    "csv": ("results.csv", _csv),
    "parquet": ("results.parquet", _parquet),
    "json": ("results.json", _json),
    "latex": ("tables.tex", _latex),
}
