"""Outcome: the folder of a comparison, with its results and its report."""

import contextlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from estbench.core.estimator import Estimator
from estbench.plan.cell import Cell
from estbench.plan.plan import Plan
from estbench.plugins.registry import discover
from estbench.store.files import digest, write_atomically
from estbench.store.records import Result, csv

TABLES = "tables.txt"


def mark(plan: Plan, results: Mapping[Cell, Result]) -> str:
    """What tells these results from others, without comparing figures."""
    parts = [f"{plan.entries[cell].name} {result.about['finished']!r}" for cell, result in results.items()]
    return digest("\n".join(parts).encode())


def same(out: Path | None, mark: str) -> Path | None:
    """A folder that already holds the report of these results: the one that is asked for, or the last one."""
    places = [out] if out else sorted(Path("runs").glob("*/"), reverse=True)[:1]
    for place in places:
        with contextlib.suppress(OSError, ValueError):
            about = json.loads((place / "environment.json").read_text(encoding="utf-8"))
            if about.get("cells") == mark and all((place / name).is_file() for name in ("index.html", TABLES)):
                return place
    return None


def known(plan: Plan, files: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Family and paper of each estimator, for the report."""
    catalogue = discover("estimator", files)
    classes = {spec.name: catalogue[spec.name].load() for cell in plan.cells for spec in cell.estimators}
    return {
        "families": {name: _family(found) for name, found in classes.items()},
        "papers": {name: found.paper for name, found in classes.items() if found.paper},
    }


def _family(estimator: type[Estimator]) -> str:
    """The class right below Estimator among its ancestors."""
    ancestors = estimator.__mro__
    above = ancestors[ancestors.index(Estimator) - 1]
    return "other" if above is estimator else above.__name__


def write(results: pd.DataFrame, about: dict[str, Any], folder: Path, console: Console) -> None:
    """Writes results and report, and shows the tables."""
    from estbench import report  # noqa: PLC0415  (slow, and not needed where nothing is new)

    write_atomically(folder / "results.parquet", results.to_parquet(index=False))
    write_atomically(folder / "results.csv", csv(results))
    report.write(results, about, folder)
    tables = Console(file=io.StringIO(), width=console.width, record=True)
    for table in report.terminal_table(results):
        console.print(table)
        tables.print(table)
    write_atomically(folder / TABLES, tables.export_text().encode())
    # last, for what names these results promises all the rest
    write_atomically(folder / "environment.json", (json.dumps(about, indent=2) + "\n").encode())
