"""The commands for stores and results: ``cache``, ``merge``, ``export``, ``diff`` and ``env``."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from estbench.cli.compare import STORE, StoreFolder
from estbench.cli.screen import console
from estbench.errors import plain
from estbench.plugins.spec import split

if TYPE_CHECKING:
    from estbench.workflows.diff import Change

_COLUMNS = ("cell", "budget", "status", "seconds", "finished", "bytes")
_RIGHT = ("seconds", "bytes")

cache_app = typer.Typer(help="Lists, verifies and prunes the store of finished cells.")


@cache_app.command("list")
def cache_list(store: StoreFolder = STORE) -> None:
    """Lists the cells of a store, with their time and size."""
    from estbench.store import maintenance  # noqa: PLC0415  (slow)

    found, screen = maintenance.contents(store), console()
    lines = [_COLUMNS, *found.lines]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    for line in lines:
        # plain lines: there may be 50,000 cells, for which rich takes half a minute
        cells = [text.rjust(width) if name in _RIGHT else text.ljust(width)
                 for name, text, width in zip(_COLUMNS, map(plain, line), widths, strict=True)]  # fmt: skip
        screen.file.write(f"{'  '.join(cells).rstrip()}\n")
    screen.print(escape(found.total))


@cache_app.command("verify")
def cache_verify(store: StoreFolder = STORE) -> None:
    """Reads every file of a store and moves damaged ones away; exits with 1 if there was one."""
    from estbench.store import maintenance  # noqa: PLC0415  (slow)

    damaged, sound = maintenance.verify(store)
    console().print(f"{sound} files are sound, {damaged} were damaged.")
    raise typer.Exit(int(damaged > 0))


@cache_app.command("prune")
def cache_prune(
    store: StoreFolder = STORE,
    failed: Annotated[bool, typer.Option("--failed", help="Also remove failed cells.")] = False,
    checkpoints: Annotated[bool, typer.Option("--checkpoints", help="Also remove all checkpoints.")] = False,
    days: Annotated[
        float | None, typer.Option(min=0, max=36500, help="Also remove files older than this many days.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be removed.")] = False,
) -> None:
    """Removes files that no run can use: damaged ones, those of older versions, and leftovers of killed processes."""
    from estbench.store import maintenance  # noqa: PLC0415  (slow)

    removed = maintenance.prune(store, failed=failed, checkpoints=checkpoints, days=days, dry_run=dry_run)
    verb = "would be removed" if dry_run else "removed"
    console().print(f"{removed.files} files {verb}, {removed.size / 2**20:.1f} MiB.")


def merge(
    stores: Annotated[list[Path], typer.Argument(help="Stores to join.")],
    into: Annotated[Path, typer.Option(help="The store that receives the cells; it is made if it does not exist.")],
    mixed_timing: Annotated[
        bool, typer.Option("--mixed-timing", help="Allow times from different machines in one store.")
    ] = False,
) -> None:
    """Joins the stores of several machines."""
    from estbench.store.merge import merge as join  # noqa: PLC0415  (slow)

    joined = join(stores, into, mixed_timing=mixed_timing)
    console().print(f"{joined.taken} cells taken, {joined.known} were there; {escape(str(into))}")


def export(
    source: Annotated[Path, typer.Argument(help="Folder of a run, or a store.")],
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder to write into; by default that of the results.")
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", help="csv, parquet, json, latex; comma-separated. By default csv; with --columns: latex."
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="Columns of the LaTeX tables, in their order, comma-separated: variance,elbo_test."),
    ] = None,
    width: Annotated[
        float | None,
        typer.Option(min=200, max=2000, help="Width in points that LaTeX tables fit into; by default a column of 252."),
    ] = None,
) -> None:
    """Writes results in other formats."""
    from estbench.workflows.export import TableOptions  # noqa: PLC0415  (slow)
    from estbench.workflows.export import export as write  # noqa: PLC0415  (likewise)

    tables = TableOptions(None if columns is None else split(columns), width)
    formats = split(format_ or ("csv" if columns is None and width is None else "latex"))
    for path in write(source, to, formats, tables):
        console().print(escape(str(path)))


def diff(
    before: Annotated[str, typer.Argument(help="A run's folder, a store, or a commit.")],
    after: Annotated[str, typer.Argument(help="A run's folder, a store, or a commit.")],
    store: StoreFolder = STORE,
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Level of the tests, over all values.")] = 0.05,
    all_: Annotated[bool, typer.Option("--all", help="Also show what did not change.")] = False,
) -> None:
    """Tells which values differ significantly; exits with 1 if one is worse, 3 if one failed or is missing."""
    from estbench.workflows.diff import diff as compare  # noqa: PLC0415  (slow)

    found = compare(before, after, store, alpha)
    shown = [change for change in found.changes if all_ or change.verdict != "same"]
    if shown:
        console().print(_changes(shown))
    console().print(found.summary)
    raise typer.Exit(found.code)


def _changes(changes: Sequence["Change"]) -> Table:
    """Changes as a table."""
    table = Table(box=None)
    for column in ("task", "estimator", "metric", "before", "after", "p", "verdict"):
        table.add_column(column, overflow="fold")
    for change in changes:
        task, estimator, params, *_, metric = change.key
        options = ",".join(f"{key}={value}" for key, value in json.loads(params or "{}").items())
        who = f"{estimator}[{options}]" if options else estimator
        numbers = [f"{value:.5g}" for value in (change.before, change.after)]
        table.add_row(*map(Text, [task, who, metric or "(all)", *numbers, f"{change.p:.2g}", change.verdict]))
    return table


def env(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Shows the environment that is recorded with results."""
    from estbench.runtime.environment import environment  # noqa: PLC0415  (imports torch)

    about = environment()
    if as_json:
        print(json.dumps(about, indent=2))  # noqa: T201
        return
    versions = about.pop("versions")
    table = Table(box=None, show_header=False)
    for name, value in {**about, **versions}.items():
        table.add_row(f"[cyan]{escape(name)}[/]", escape("none" if value is None else str(value)))
    console().print(table)
