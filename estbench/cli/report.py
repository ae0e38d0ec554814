"""The commands ``report`` and ``plot``, which write reports and draw figures."""

import contextlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from estbench.cli import completion
from estbench.cli.screen import console
from estbench.errors import UserError
from estbench.plugins.grammar import shown
from estbench.plugins.spec import split
from estbench.store.files import check_folder

if TYPE_CHECKING:
    from estbench.store.run_folder import RunFolder

Run = Annotated[Path, typer.Argument(help="Folder of a run: the --out of compare.")]


def report(
    run: Run,
    out: Annotated[Path | None, typer.Option(help="Where to write; by default the run's own folder.")] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Target of the columns steps and time to target: elbo_valid=-100.")
    ] = None,
) -> None:
    """Writes the report of a run again from its results."""
    from estbench.report import write  # noqa: PLC0415  (slow)

    targets = dict(_target(text) for text in target or [])
    check_folder(out or run)
    folder = _folder(run)
    page = write(folder.results(), folder.info().known, out or run, targets)
    console().print(f"Report: {escape(str(page))}")


def _target(text: str) -> tuple[str, float]:
    metric, _, value = text.partition("=")
    with contextlib.suppress(ValueError):
        if metric.strip() and math.isfinite(float(value)):
            return metric.strip(), float(value)
    raise UserError(f"a target is a metric and a finite number, such as elbo_valid=-100; got {shown(text)}")


Kind = Annotated[
    str,
    typer.Argument(
        help="variance, training, ...: estbench list charts names them all.", autocompletion=completion.parts("chart")
    ),
]


def plot(
    kind: Kind,
    run: Annotated[Path | None, typer.Argument(help="Folder of a run; gumbel_softmax needs none.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder, or one file such as curve.pdf; by default the run's folder, or the current one."),
    ] = None,
    style: Annotated[str, typer.Option(help="paper or talk.")] = "paper",
    width: Annotated[
        float | None, typer.Option(min=1, max=100, help="Width in inches; by default one column per task.")
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="svg, png, pdf; comma-separated. By default all, or that of --out.")
    ] = None,
) -> None:
    """Draws one kind of figure from the results of a run."""
    try:
        files = _drawn(kind, run, out or run or Path(), style, width, None if format_ is None else split(format_))
    except ValueError as error:
        raise UserError(str(error)) from error
    for file in files:
        console().print(escape(str(file)))


def _drawn(
    kind: str, run: Path | None, out: Path, style: str, width: float | None, formats: list[str] | None
) -> list[Path]:
    """Draws a figure of a run, or an illustration without one; returns the files."""
    from estbench.report import FigureTarget, illustrate, plot  # noqa: PLC0415  (slow)
    from estbench.store import declared  # noqa: PLC0415  (likewise)

    to = FigureTarget.of(out, formats)
    check_folder(to.folder)
    look: dict[str, Any] = {"style": style, "width": width, "formats": to.formats, "name": to.name}
    if run is None:
        return list(illustrate(kind, to.folder, **look))
    folder = _folder(run)
    info = folder.info()
    look |= {"families": info.families, "options": info.options, "metrics": declared.of_run(run)}
    return list(plot(kind, folder.results(), to.folder, **look))


def _folder(run: Path) -> "RunFolder":
    from estbench.store.run_folder import RunFolder  # noqa: PLC0415  (slow)

    return RunFolder(run)
