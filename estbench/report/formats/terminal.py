"""Tables for the end of ``estbench compare``."""

import itertools

import pandas as pd
from rich.console import Group
from rich.table import Table as Grid
from rich.text import Text

from estbench.core.metrics import Metrics
from estbench.report.model.completeness import Planned
from estbench.report.model.study import Study
from estbench.report.text import tables

_STYLES = {
    "best": "bold green",
    "close": "green",
    "tied": "green",
    "failed": "red",
    "unresolved": "dim",
    "not applicable": "dim",
    "missing": "dim",
}


def terminal_table(
    results: pd.DataFrame, metrics: Metrics | None = None, planned: Planned | None = None
) -> list[Group]:
    """One table per task with the main columns, the best and its ties in green, and reasons below.

    Args:
        results: rows as in docs/reference/results.md.
        metrics: the metrics that the measures declare, as in a run's folder; for built-in measures they may be absent.
        planned: the measures that the run was to make, by task and estimator, where that is known.
    """
    found = Study.of(results, metrics=metrics, planned=planned)
    shown = [tables.table(found, task) for task in found.tasks]
    # notes are below the table and not in its caption, which would wrap them to the width of the table
    return [Group(_grid(table), _notes(table)) for table in shown]


def _grid(table: tables.Table) -> Grid:
    wanted = [i for i, heading in enumerate(table.headings) if _wanted(heading)]
    # names become Text objects, since markup in a string would be interpreted
    grid = Grid(title=Text(table.task), title_justify="left")
    grid.add_column("estimator", overflow="fold")
    if table.declares:
        grid.add_column("declared", overflow="fold")
    for i in wanted:
        grid.add_column(Text(table.headings[i].title), justify="right")
    for reference, rows in itertools.groupby(table.rows, lambda row: row.reference):
        if reference:
            grid.add_section()
        for row in rows:
            declared = [Text(row.declared)] if table.declares else []
            grid.add_row(Text(row.title), *declared, *[_text(row.cells[i]) for i in wanted])
    return grid


def _wanted(heading: tables.Heading) -> bool:
    return heading.quantity.declared.show == "main"


def _text(cell: tables.TableCell) -> Text:
    return Text(cell.text + tables.SIGNS[cell.mark], style=_STYLES.get(cell.mark or cell.status, ""))


def _notes(table: tables.Table) -> Text:
    return Text("\n".join([*table.notes, ""]))
