"""The command line."""

import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from estbench import __version__, plugins
from estbench.spec import UserError, nearest, select, split

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
data_app = typer.Typer(help="Data sets: which are here, and fetching them.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Files = Annotated[list[Path] | None, typer.Option("-e", "--plugin", help="A plugin file; may be given several times.")]


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


def _console() -> Console:
    # what is piped into a file should not be folded as on a narrow screen
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160
    return Console(highlight=False, width=width)


def _warn(problems: list[str]) -> None:
    for problem in dict.fromkeys(problems):
        print(f"estbench: {problem}", file=sys.stderr)  # noqa: T201


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(help="estimators, tasks, measures or all.")] = "all",
    plugin: Files = None,
) -> None:
    """Lists estimators, tasks and measures."""
    kinds = [name for name in plugins.KINDS if kind in ("all", name, f"{name}s")]
    if not kinds:
        raise UserError(f"unknown kind {kind!r}; {nearest(kind, [*plugins.KINDS, 'all'])}")
    console = _console()
    for name in kinds:
        catalogue = plugins.discover(name, plugin or ())
        _warn(catalogue.problems)
        table = Table(title=f"{name.capitalize()}s", title_justify="left", title_style="bold", box=None)
        table.add_column("name", style="cyan", no_wrap=True)
        table.add_column("what it is", overflow="fold")
        unbiased = name == "estimator"
        if unbiased:
            table.add_column("unbiased", no_wrap=True)
        foreign = any(found.origin != "built-in" for found in catalogue.plugins.values())
        if foreign:
            table.add_column("from", overflow="fold")
        for found in catalogue.plugins.values():
            declared = {True: "yes", False: "no", None: "?"}[found.declared.get("unbiased")]
            row = [escape(found.name), escape(found.summary), *([declared] if unbiased else [])]
            table.add_row(*row, *([escape(found.origin)] if foreign else []))
        console.print(table, "")


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="Name of an estimator, task or measure.")], plugin: Files = None
) -> None:
    """Shows what a plugin is, what it declares, and its options."""
    catalogues = [plugins.discover(kind, plugin or ()) for kind in plugins.KINDS]
    found = [catalogue.plugins[name] for catalogue in catalogues if name in catalogue.plugins]
    if not found:
        known = [name for catalogue in catalogues for name in catalogue.plugins]
        raise UserError(f"unknown plugin {name!r}; {nearest(name, known)}")
    console = _console()
    for each in found:
        cls = each.load()
        console.print(f"[bold cyan]{escape(each.name)}[/] ({each.kind}, {escape(each.origin)})\n")
        console.print(escape(each.doc), "\n")
        table = Table(title="Options", title_justify="left", title_style="bold", box=None)
        for column in ("option", "type", "default"):
            table.add_column(column)
        for key, parameter in plugins.options_of(cls).items():
            default = "required" if parameter.default is parameter.empty else repr(parameter.default)
            table.add_row(escape(key), escape(_type(parameter.annotation)), escape(default))
        console.print(table if table.row_count else "No options.", "")
        if each.kind == "estimator":
            takes = ", ".join(kind.__name__ for kind in cls.accepts)
            console.print(
                f"Declares: takes {takes}; {'unbiased' if cls.unbiased else 'biased'}; "
                f"{'uses' if cls.differentiates else 'does not use'} the derivative of the cost.\n"
            )


def _type(annotation: Any) -> str:
    return getattr(annotation, "__name__", str(annotation)).replace("typing.", "")


@app.command()
def compare(
    tasks: Annotated[
        list[str] | None, typer.Option(help="Tasks, comma-separated; globs and vae[dataset=mnist] work.")
    ] = None,
    estimators: Annotated[
        list[str] | None, typer.Option(help="Estimators, likewise; rloo[samples=2,4] is a grid.")
    ] = None,
    measures: Annotated[
        list[str] | None, typer.Option(help="Measures, likewise: gradient, speed, training[steps=1000].")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="How many seeds, counted from 0; or which, comma-separated: 3,5,8.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:1.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or float64.")] = None,
    suite: Annotated[str, typer.Option(help="A .toml file, or the name of a suite shipped with estbench.")] = "quick",
    out: Annotated[Path | None, typer.Option(help="Folder for the report; by default runs/DATE-TIME.")] = None,
    store: Annotated[Path, typer.Option(help="Folder that keeps finished cells.", envvar="ESTBENCH_STORE")] = Path(
        ".estbench"
    ),
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of torch; by default its own choice.")] = None,
    executor: Annotated[str, typer.Option(help="inline; local, in processes; auto: local on several cores.")] = "auto",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default one a core.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be measured.")] = False,
    plugin: Files = None,
) -> None:
    """Measures estimators on tasks and writes a report.

    Options replace the values of the suite. Finished cells are kept: the same command again goes on where it
    stopped.
    """
    from estbench import compare as comparison  # noqa: PLC0415  (imports torch)

    overrides: dict[str, Any] = {
        key: [part for text in texts for part in split(text)]
        for key, texts in (("tasks", tasks), ("estimators", estimators), ("measures", measures))
        if texts
    }
    overrides |= {k: v for k, v in (("device", device), ("dtype", dtype)) if v is not None}
    if seeds is not None:
        overrides["seeds"] = _seeds(seeds)
    files = tuple(str(path.resolve()) for path in plugin or ())
    request = comparison.Request(suite, overrides, files, out, store, threads, executor, workers)
    raise typer.Exit(comparison.compare(request, _console(), dry_run=dry_run))


def _seeds(text: str) -> int | list[int]:
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise UserError(f"--seeds takes a number, or numbers separated by commas; got {text!r}") from error
    return numbers[0] if len(numbers) == 1 and "," not in text else numbers


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Estimators; by default those of the plugin files.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the statistical checks.")] = 0,
    plugin: Files = None,
) -> None:
    """Checks that estimators are what they declare; exits with 1 if one is not."""
    from estbench.testing import run_checks  # noqa: PLC0415  (imports torch)

    catalogue = plugins.discover("estimator", plugin or ())
    _warn(catalogue.problems)
    wanted = names or [path.stem for path in plugin or ()]
    if not wanted:
        raise UserError("name the estimators to check, or a plugin file with -e")
    console, failed = _console(), False
    for spec in select(wanted, catalogue.plugins, "estimator"):
        made = catalogue[spec.name].load()
        plugins.check(made, spec)
        console.print(f"[bold cyan]{escape(str(spec))}[/]")
        for verdict in run_checks(functools.partial(plugins.make, made, spec), seed=seed):
            mark = {"passed": "[green]passed[/]", "failed": "[red]FAILED[/]"}.get(verdict.verdict, verdict.verdict)
            detail = verdict.reason if verdict.verdict != "passed" else verdict.figure
            console.print(f"  {escape(verdict.name):<32} {mark}  {escape(detail)}")
            failed |= verdict.verdict == "failed"
    raise typer.Exit(int(failed))


@app.command()
def new(
    kind: Annotated[str, typer.Argument(help="estimator or task.")],
    name: Annotated[str, typer.Argument(help="Its name, as a Python module would be called.")],
) -> None:
    """Writes a small installable package for a plugin of yours."""
    from estbench import scaffold  # noqa: PLC0415  (only here)

    _console().print(f"Wrote {escape(str(scaffold.new(kind, name)))}; its README says what to do next.")


Run = Annotated[Path, typer.Argument(help="Folder of a run: the --out of compare.")]


@app.command()
def report(
    run: Run,
    out: Annotated[Path | None, typer.Option(help="Where to write; by default the run's own folder.")] = None,
) -> None:
    """Writes the report of a run again from its results."""
    from estbench.report import write  # noqa: PLC0415  (slow)

    results, environment = _load(run)
    _console().print(f"Report: {escape(str(write(results, environment, out or run)))}")


@app.command()
def plot(
    kind: Annotated[str, typer.Argument(help="variance, bias-variance, training, speed, ...")],
    run: Run,
    out: Annotated[Path | None, typer.Option(help="Folder for the files; by default the run's own.")] = None,
    style: Annotated[str, typer.Option(help="paper or talk.")] = "paper",
    width: Annotated[float | None, typer.Option(min=1, help="Inches; by default one column a task.")] = None,
    format_: Annotated[str, typer.Option("--format", help="svg, png, pdf; comma-separated.")] = "svg,png,pdf",
) -> None:
    """Draws one kind of figure from the results of a run."""
    from estbench.report import plot  # noqa: PLC0415  (slow)

    results, environment = _load(run)
    families = environment.get("families")
    try:
        files = plot(kind, results, out or run, style=style, width=width, formats=split(format_), families=families)
    except ValueError as error:
        raise UserError(str(error)) from error
    for file in files:
        _console().print(escape(str(file)))


def _load(run: Path) -> tuple["pd.DataFrame", dict[str, Any]]:
    """Results and environment of a run."""
    import json  # noqa: PLC0415  (only here)

    import pandas as pd  # noqa: PLC0415  (slow)

    try:
        results = pd.read_parquet(run / "results.parquet")
        return results, json.loads((run / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{run} holds no results of a comparison: {error}") from error


@data_app.command("list")
def data_list() -> None:
    """Lists the data sets and where they are."""
    from estbench import data  # noqa: PLC0415  (imports torch)

    table = Table(box=None)
    for column in ("name", "what it is", "where"):
        table.add_column(column, overflow="fold")
    table.add_row("digits", data.DIGITS_NOTE, "bundled")
    for source in data.SOURCES.values():
        where = str(source.folder()) if source.present() else "not here; estbench data fetch " + source.name
        table.add_row(source.name, source.note, where)
    _console().print(table)


@data_app.command("fetch")
def data_fetch(names: Annotated[list[str], typer.Argument(help="Data sets to fetch.")]) -> None:
    """Fetches data sets that are not here yet, and checks those that are."""
    from estbench import data  # noqa: PLC0415  (imports torch)

    for name in names:
        if name != "digits" and name not in data.SOURCES:
            raise UserError(f"unknown data set {name!r}; {nearest(name, ['digits', *data.SOURCES])}")
    for name in names:
        if name in data.SOURCES:
            data.SOURCES[name].fetch()
            _console().print(f"{name}: {escape(str(data.SOURCES[name].folder()))}")
        else:
            _console().print("digits: bundled with scikit-learn")
