"""The application: all commands, and the handling of user errors."""

import os
import sys
from typing import Annotated

import typer

from estbench import __version__
from estbench.cli import authoring, compare, inspect, report, store, tracking
from estbench.cli.doctor import doctor
from estbench.cli.parsing import run, strict
from estbench.cli.published import published

# otherwise the profiler that counts memory writes a message to stderr
os.environ.setdefault("KINETO_LOG_LEVEL", "6")

app = typer.Typer(
    name="estbench",
    help="Benchmarks stochastic gradient estimators of discrete random variables.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(inspect.data_app, name="data")
app.add_typer(store.cache_app, name="cache")
app.command("list")(inspect.list_)
app.command()(inspect.info)
app.command()(published)
app.command()(compare.compare)
app.command()(compare.plan)
app.command()(store.merge)
app.command()(store.export)
app.command()(store.diff)
app.command()(store.env)
app.command()(authoring.check)
app.command()(authoring.new)
app.command()(report.report)
app.command()(report.plot)
app.command()(tracking.track)
app.command()(tracking.gate)
app.command()(tracking.history)
app.command()(doctor)


def main() -> None:
    """Runs the command; a user error gives one line on stderr and exit code 2."""
    sys.exit(run(app, sys.argv[1:]))


def _version(wanted: bool) -> None:
    if wanted:
        print(f"estbench {__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


strict(app, inspect.data_app, store.cache_app)
