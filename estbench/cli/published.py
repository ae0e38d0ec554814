"""The command ``published``: published results as a table, CSV or JSON."""

import csv
import io
import json
import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from estbench.cli.screen import console
from estbench.published.select import select_published
from estbench.published.tables import PublishedResult, protocols


class Form(StrEnum):
    """Output formats."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def published(
    paper: Annotated[str, typer.Option(help="Part of the authors or the year, or a protocol's key.")] = "",
    task: Annotated[str, typer.Option(help="A task; globs work.")] = "",
    estimator: Annotated[str, typer.Option(help="The estimator's name in estbench or in the paper; globs work.")] = "",
    form: Annotated[Form, typer.Option("--format", help="How to write them.")] = Form.TABLE,
) -> None:
    """Shows published results and the protocols behind them.

    All were read in a paper's text or its authors' code. Values from different protocols are not comparable.
    """
    found = select_published(paper, task, estimator)
    if form is Form.TABLE:
        _show(found)
    else:
        write = {Form.CSV: _csv, Form.JSON: _json}[form]
        print(write(found))  # noqa: T201


def record(result: PublishedResult) -> dict[str, Any]:
    """A result as plain values, with None for missing ones."""
    plain = {
        "task": str(result.task),
        "estimator": str(result.estimator) if result.estimator else None,
        "spread": None if math.isnan(result.spread) else result.spread,
        "link": protocols()[result.protocol].link,
    }
    return vars(result) | plain


def _show(found: Sequence[PublishedResult]) -> None:
    screen = console()
    groups: dict[tuple[str, str, str], list[PublishedResult]] = {}
    for result in found:
        groups.setdefault((result.protocol, result.table, result.setting), []).append(result)
    for (protocol, place, setting), rows in groups.items():
        title = f"{rows[0].paper}, {place}: {setting}"
        table = Table(title=escape(title), title_justify="left", title_style="bold", box=None)
        for column in ("estimator", "in the paper", "metric"):
            table.add_column(column, overflow="fold")
        table.add_column("value", justify="right")
        table.add_column("what it is", overflow="fold")
        for row in rows:
            steps = f", after {row.steps} steps" if row.steps else ""
            about = ". ".join(filter(None, (row.metric_published + steps, row.note)))
            ours = str(row.estimator or "–")
            table.add_row(*map(escape, (ours, row.estimator_published, row.metric or "–", _value(row), about)))
        screen.print(table)
        screen.print(f"[dim]{escape(f'Task {rows[0].task}; protocol {protocol}; from {rows[0].source}')}[/]\n")
    for key in dict.fromkeys(row.protocol for row in found):
        _explain(key)


def _explain(key: str) -> None:
    screen, protocol = console(), protocols()[key]
    screen.print(f"[bold]{escape(key)}[/]: {escape(protocol.about)}, {escape(protocol.link)}")
    screen.print(escape("; ".join(f"{name} {value}" for name, value in protocol.parts)))
    screen.print(*map(escape, protocol.notes), "", sep="\n")


def _value(result: PublishedResult) -> str:
    spread = "" if math.isnan(result.spread) else f" ± {result.spread:g}"
    return f"{result.printed}{spread}"


def _csv(found: Sequence[PublishedResult]) -> str:
    text = io.StringIO()
    rows = [record(result) for result in found]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def _json(found: Sequence[PublishedResult]) -> str:
    keys = dict.fromkeys(result.protocol for result in found)
    known = {key: vars(protocols()[key]) for key in keys}
    return json.dumps({"results": [record(result) for result in found], "protocols": known}, indent=2)
