"""The command line."""

import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from estbench import __version__
from estbench.cli import compare, inspect, store
from estbench.cli.doctor import doctor
from estbench.cli.inspect import Files, console, data_app, warn
from estbench.cli.published import published
from estbench.errors import UserError
from estbench.plugins import options, registry
from estbench.plugins.spec import select, split

if TYPE_CHECKING:
    import pandas as pd

# the profiler that counts memory announces itself on stderr otherwise
os.environ.setdefault("KINETO_LOG_LEVEL", "6")

app = typer.Typer(
    name="estbench",
    help="Benchmarks stochastic gradient estimators of discrete random variables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data_app, name="data")
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
app.command()(doctor)


def main() -> None:
    """Runs the command; what a user did wrong is one line on stderr and exit code 2."""
    try:
        app()
    except UserError as error:
        for line in str(error).splitlines():
            print(f"estbench: {line}", file=sys.stderr)  # noqa: T201
        sys.exit(2)


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


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Estimators; by default those of the plugin files.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the statistical checks.")] = 0,
    plugin: Files = None,
) -> None:
    """Checks that estimators are what they declare; exits with 1 if one is not."""
    from estbench.testing import run_checks  # noqa: PLC0415  (imports torch)

    catalogue = registry.discover("estimator", plugin or ())
    warn(catalogue.problems)
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
            detail = verdict.reason if verdict.verdict != "passed" else verdict.figure
            screen.print(f"  {escape(verdict.name):<32} {mark}  {escape(detail)}")
            failed |= verdict.verdict == "failed"
    raise typer.Exit(int(failed))


@app.command()
def track(
    run: Annotated[Path | None, typer.Argument(help="Folder of a run: the --out of compare.")] = None,
    init: Annotated[bool, typer.Option("--init", help="Write asv's configuration into this folder instead.")] = False,
    results: Annotated[
        Path | None, typer.Option(help="Folder of asv's results; by default its configured one.")
    ] = None,
    machine: Annotated[str | None, typer.Option(help="Name of the machine in asv's results.")] = None,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Take a run of uncommitted code.")] = False,
) -> None:
    """Writes the results of a run as asv results, so that asv follows them from commit to commit."""
    from estbench.tracking.init import IGNORED  # noqa: PLC0415  (only here)
    from estbench.tracking.init import init as write_configuration  # noqa: PLC0415
    from estbench.tracking.write import track as write_results  # noqa: PLC0415

    if init == (run is not None):
        raise UserError("estbench track takes the folder of a run, or --init")
    if run is None:
        for path in write_configuration(Path()):
            console().print(f"Wrote {escape(str(path))}")
        console().print(f"Keep out of git (.gitignore): {' '.join(IGNORED)}")
        return
    tracked = write_results(run, results, machine=machine, allow_dirty=allow_dirty)
    for note in tracked.notes:
        console().print(escape(str(note)))
    console().print(f"{tracked.count} figures: {escape(str(tracked.path))}")


@app.command()
def gate(
    base: Annotated[str, typer.Argument(help="A run's folder, a result file of asv, or a commit.")],
    head: Annotated[str, typer.Argument(help="Likewise.")],
    results: Annotated[Path | None, typer.Option(help="Folder of asv's results, for commits.")] = None,
    threshold: Annotated[list[str] | None, typer.Option(help="Ratio that counts: 1.05, or *time*=1.2.")] = None,
    alpha: Annotated[float, typer.Option(help="Level of the tests, over all figures.")] = 0.01,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="Let figures be missing in HEAD.")] = False,
    repeat: Annotated[
        int, typer.Option(help="Of two commits: measure times that got worse again with asv, this often each.")
    ] = 0,
) -> None:
    """Tells regressions from noise, gaps and failures; exits with 1 on a regression, 3 on a gap or failure."""
    from estbench.tracking import remeasure  # noqa: PLC0415  (only here)
    from estbench.tracking.gate import gate as judge  # noqa: PLC0415  (only here)

    if repeat:
        remeasure.check(base, head, repeat)
    found = judge(
        base,
        head,
        results=results,
        thresholds=tuple(threshold or ()),
        alpha=alpha,
        allow_missing=allow_missing,
        again=functools.partial(remeasure.measure, base=base, head=head, times=repeat) if repeat else None,
    )
    print(found.table)  # noqa: T201
    raise typer.Exit(found.code)


@app.command()
def new(
    kind: Annotated[str, typer.Argument(help="estimator or task.")],
    name: Annotated[str, typer.Argument(help="Its name, as a Python module would be called.")],
) -> None:
    """Writes a small installable package for a plugin of yours."""
    from estbench.workflows import new_plugin  # noqa: PLC0415  (only here)

    console().print(f"Wrote {escape(str(new_plugin.new(kind, name)))}; its README says what to do next.")


Run = Annotated[Path, typer.Argument(help="Folder of a run: the --out of compare.")]


@app.command()
def report(
    run: Run,
    out: Annotated[Path | None, typer.Option(help="Where to write; by default the run's own folder.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="Time trainings to this: elbo_valid=-100.")] = None,
) -> None:
    """Writes the report of a run again from its results."""
    from estbench.report import write  # noqa: PLC0415  (slow)

    targets = dict(_target(text) for text in target or [])
    results, environment = _load(run)
    console().print(f"Report: {escape(str(write(results, environment, out or run, targets)))}")


def _target(text: str) -> tuple[str, float]:
    metric, _, value = text.partition("=")
    try:
        return metric.strip(), float(value)
    except ValueError as error:
        raise UserError(f"a target is a metric and a number, such as elbo_valid=-100; got {text!r}") from error


@app.command()
def plot(
    kind: Annotated[str, typer.Argument(help="variance, bias-variance, training, speed, ...")],
    run: Annotated[Path | None, typer.Argument(help="Folder of a run; gumbel_softmax needs none.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the files; by default the run's, or this one.")] = None,
    style: Annotated[str, typer.Option(help="paper or talk.")] = "paper",
    width: Annotated[float | None, typer.Option(min=1, help="Inches; by default one column a task.")] = None,
    format_: Annotated[str, typer.Option("--format", help="svg, png, pdf; comma-separated.")] = "svg,png,pdf",
) -> None:
    """Draws one kind of figure, from the results of a run if it shows any."""
    from estbench.report import illustrate, plot  # noqa: PLC0415  (slow)

    look: dict[str, Any] = {"style": style, "width": width, "formats": split(format_)}
    try:
        if run is None:
            files = illustrate(kind, out or Path(), **look)
        else:
            results, environment = _load(run)
            look |= {key: environment.get(key) for key in ("families", "options")}
            files = plot(kind, results, out or run, **look)
    except ValueError as error:
        raise UserError(str(error)) from error
    for file in files:
        console().print(escape(str(file)))


def _load(run: Path) -> tuple["pd.DataFrame", dict[str, Any]]:
    """Results and environment of a run."""
    import json  # noqa: PLC0415  (only here)

    import pandas as pd  # noqa: PLC0415  (slow)

    try:
        results = pd.read_parquet(run / "results.parquet")
        return results, json.loads((run / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{run} holds no results of a comparison: {error}") from error
