"""The commands for authors of plugins: ``check`` and ``new``."""

import functools
from typing import Annotated

import typer
from rich.markup import escape

from estbench.cli.screen import Files, console
from estbench.errors import UserError, warn
from estbench.plugins import options, registry
from estbench.plugins.spec import select


def check(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of estimators; by default those in the plugin files.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the statistical checks.")] = 0,
    plugin: Files = None,
) -> None:
    """Checks whether estimators are what they declare; exits with 1 if one is not."""
    from estbench.testing import run_checks  # noqa: PLC0415  (imports torch)

    catalogue = registry.discover("estimator", plugin or ())
    for problem in catalogue.problems:
        warn(problem)
    wanted = names or [path.stem for path in plugin or ()]
    if not wanted:
        raise UserError("name the estimators to check, or a plugin file with -e")
    screen, failed = console(), False
    for spec in select(wanted, catalogue.plugins, "estimator"):
        made = catalogue[spec.name].load()
        options.check(made, spec)
        screen.print(f"[bold cyan]{escape(str(spec))}[/]")
        for verdict in run_checks(functools.partial(options.make, made, spec), seed=seed):
            mark = {"passed": "[green]passed[/]", "failed": "[red]FAILED[/]"}.get(verdict.verdict, verdict.verdict)
            detail = verdict.reason if verdict.verdict != "passed" else verdict.measured
            screen.print(f"  {escape(verdict.name):<32} {mark}  {escape(detail)}")
            failed |= verdict.verdict == "failed"
    raise typer.Exit(int(failed))


def new(
    kind: Annotated[str, typer.Argument(help="estimator, task or measure.")],
    name: Annotated[str, typer.Argument(help="Name of the plugin: lower-case words joined by underscores.")],
) -> None:
    """Writes a small installable package for a plugin of your own."""
    from estbench.workflows import new_plugin  # noqa: PLC0415  (only here)

    console().print(f"Wrote {escape(str(new_plugin.new(kind, name)))}; its README says what to do next.")
