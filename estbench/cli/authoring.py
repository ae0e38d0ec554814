"""The commands for authors of plugins: ``check`` and ``new``."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from rich.markup import escape

from estbench.cli import completion
from estbench.cli.screen import Files, console, found
from estbench.errors import UserError

if TYPE_CHECKING:
    from estbench.testing import Verdict

Function: TypeAlias = Annotated[
    str,
    typer.Option(
        help="A function of any library to check as an estimator: module:function or file.py:function. Under compare "
        "it is the estimator function\\[path=...]."
    ),
]
Options: TypeAlias = Annotated[
    str, typer.Option(help="Options of that function and of its bridge: tau=0.5,hard=true, kind=surrogate.")
]


def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Estimators and tasks, rloo\\[samples=4]; by default those in the plugin files.",
            autocompletion=completion.plugins("estimator", "task"),
        ),
    ] = None,
    function: Function = "",
    options: Options = "",
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the statistical checks.")] = 0,
    plugin: Files = None,
) -> None:
    """Checks whether estimators are what they declare and tasks fulfil their contract; exits with 1 if not."""
    from estbench.workflows import conformance  # noqa: PLC0415  (imports torch)

    plugins = found(plugin)
    wanted = [*(names or ()), *conformance.of_function(function, options)] or [path.stem for path in plugin or ()]
    if not wanted:
        raise UserError("name the estimators or tasks to check, a plugin file with -e, or a --function")
    failed = False
    for spec in conformance.selected(wanted, plugins):
        console().print(f"[bold cyan]{escape(str(spec))}[/]")
        failed |= _failed(conformance.verdicts(spec, plugins, seed))
    raise typer.Exit(int(failed))


def _failed(verdicts: Iterable["Verdict"]) -> bool:
    """Prints verdicts as they come; whether one is that a check failed."""
    screen, failed = console(), False
    for verdict in verdicts:
        mark = {"passed": "[green]passed[/]", "failed": "[red]FAILED[/]"}.get(verdict.verdict, verdict.verdict)
        detail = verdict.reason if verdict.verdict != "passed" else verdict.measured
        screen.print(f"  {escape(verdict.name):<32} {mark}  {escape(detail)}")
        failed |= verdict.verdict == "failed"
    return failed


def new(
    kind: Annotated[
        str,
        typer.Argument(
            help="estimator, task or measure.", autocompletion=completion.choices("estimator", "task", "measure")
        ),
    ],
    name: Annotated[str, typer.Argument(help="Name of the plugin: lower-case words joined by underscores.")],
) -> None:
    """Writes a small installable package for a plugin of your own."""
    from estbench.workflows import new_plugin  # noqa: PLC0415  (only here)

    console().print(f"Wrote {escape(str(new_plugin.new(kind, name)))}; its README says what to do next.")
