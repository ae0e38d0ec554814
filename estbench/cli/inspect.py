"""The commands that list and describe plugins and data sets: ``list``, ``info`` and ``data``."""

import inspect
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from rich.markup import escape
from rich.table import Table

from estbench.cli import completion
from estbench.cli.screen import Files, console
from estbench.errors import UserError, nearest, warn
from estbench.plugins import loading, registry, values
from estbench.plugins.options import options_of

# how the list shows a declaration; one that is not a literal is shown as "?"
_SAID = {"True": "yes", "False": "no"}

data_app = typer.Typer(help="Lists and downloads data sets.")


def list_(
    kind: Annotated[
        str,
        typer.Argument(
            help="estimators, tasks, measures, charts, executors or all.",
            autocompletion=completion.choices("estimators", "tasks", "measures", "charts", "executors", "all"),
        ),
    ] = "all",
    plugin: Files = None,
) -> None:
    """Lists estimators, tasks, measures, charts (kinds of figures) and executors."""
    known = [*loading.KINDS, *loading.PARTS]
    kinds = [name for name in known if kind in ("all", name, f"{name}s")]
    if not kinds:
        raise UserError(f"unknown kind {kind!r}; {nearest(kind, [*known, 'all'])}")
    screen = console()
    catalogues = {
        name: registry.discover(name, plugin or ()) if name in loading.KINDS else registry.parts(name) for name in kinds
    }
    for problem in dict.fromkeys(problem for catalogue in catalogues.values() for problem in catalogue.problems):
        warn(problem)
    for catalogue in catalogues.values():
        screen.print(_table(catalogue), "")


def _table(catalogue: registry.Catalogue) -> Table:
    """The plugins of a kind, a line each."""
    table = Table(title=f"{catalogue.kind.capitalize()}s", title_justify="left", title_style="bold", box=None)
    table.add_column("name", style="cyan", no_wrap=True)
    table.add_column("what it is", overflow="fold")
    unbiased = catalogue.kind == "estimator"
    if unbiased:
        table.add_column("unbiased", no_wrap=True)
    foreign = any(found.foreign for found in catalogue.plugins.values())
    if foreign:
        table.add_column("from", overflow="fold")
    for found in catalogue.plugins.values():
        declared = _SAID.get(str(found.declared.get("unbiased")), "?")
        row = [escape(found.name), escape(found.summary), *([declared] if unbiased else [])]
        table.add_row(*row, *([escape(found.origin)] if foreign else []))
    return table


def info(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of an estimator, task or measure.",
            autocompletion=completion.plugins("estimator", "task", "measure"),
        ),
    ],
    plugin: Files = None,
) -> None:
    """Describes a plugin: its documentation, its declarations and its options."""
    catalogues = list(registry.Plugins.found(plugin or ()))
    found = [catalogue.plugins[name] for catalogue in catalogues if name in catalogue.plugins]
    if not found:
        known = [name for catalogue in catalogues for name in catalogue.plugins]
        raise UserError(f"unknown plugin {name!r}; {nearest(name, known)}")
    screen = console()
    for each in found:
        cls = each.load()
        screen.print(f"[bold cyan]{escape(each.name)}[/] ({each.kind}, {escape(each.origin)})\n")
        screen.print(escape(each.doc), "\n")
        table = Table(title="Options", title_justify="left", title_style="bold", box=None)
        for column in ("option", "type", "default"):
            table.add_column(column)
        for key, parameter in options_of(cls).items():
            table.add_row(escape(key), escape(_type(parameter.annotation)), escape(_default(parameter.default)))
        screen.print(table if table.row_count else "No options.", "")
        if each.kind == "estimator":
            screen.print(f"Declares: {escape(_declares(cls))}.\n")


def _declares(cls: Any) -> str:
    """The declarations of an estimator, in words; missing declarations are mentioned."""
    undeclared = [name for name in ("unbiased", "differentiates", "accepts") if getattr(cls, name, None) is None]
    if undeclared:
        return f"not all it must; {' and '.join(undeclared)} {'is' if len(undeclared) == 1 else 'are'} missing"
    takes = ", ".join(kind.__name__ for kind in cls.accepts)
    bias = "unbiased" if cls.unbiased else "biased"
    derivative = f"{'uses' if cls.differentiates else 'does not use'} the derivative of the cost"
    values = "its value is the cost at exact samples" if cls.exact_samples else "its value is not at exact samples"
    return f"takes {takes}; {bias}; {derivative}; {values}"


def _default(value: Any) -> str:
    """A default value as users write it; for an object, its name, which is the same in every process."""
    if value is inspect.Parameter.empty:
        return "required"
    return repr(value) if values.can_be_given(value) else str(values.as_plain(value))


def _type(annotation: Any) -> str:
    """A type as users write it; for a choice, its values."""
    if get_origin(annotation) is Literal:
        return " or ".join(str(value) for value in get_args(annotation))
    return getattr(annotation, "__name__", str(annotation))


@data_app.command("list")
def data_list() -> None:
    """Lists the data sets and where they are."""
    from estbench.data import datasets  # noqa: PLC0415  (imports torch)

    table = Table(box=None)
    for column in ("name", "what it is", "where"):
        table.add_column(column, overflow="fold")
    table.add_row("digits", datasets.DIGITS_NOTE, "bundled")
    for source in datasets.SOURCES.values():
        where = str(source.folder()) if source.present() else "not here; estbench data fetch " + source.name
        table.add_row(source.name, source.note, where)
    console().print(table)


@data_app.command("fetch")
def data_fetch(names: Annotated[list[str], typer.Argument(help="Data sets to fetch.")]) -> None:
    """Downloads missing data sets and checks existing ones."""
    from estbench.data import datasets  # noqa: PLC0415  (imports torch)

    for name in names:
        if name != "digits" and name not in datasets.SOURCES:
            raise UserError(f"unknown data set {name!r}; {nearest(name, ['digits', *datasets.SOURCES])}")
    for name in names:
        if name in datasets.SOURCES:
            datasets.SOURCES[name].fetch()
            datasets.images(name)
            console().print(f"{name}: {escape(str(datasets.SOURCES[name].folder()))}")
        else:
            console().print("digits: embedded")
