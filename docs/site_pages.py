"""The site's generated pages: a card for each estimator and task, and the command line."""

# ruff: noqa: INP001  (a module beside conf.py, which imports it)

import csv
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from estbench.cli.main import app
from estbench.plugins.options import options_of
from estbench.plugins.plugin import Plugin
from estbench.plugins.registry import discover

AUDITS = Path(__file__).parents[1] / "audits" / "results"
DECLARATIONS = {"estimator": ("unbiased", "exact_samples", "differentiates", "couples_examples"), "task": ()}


def write_pages(folder: Path) -> None:
    """Writes all generated pages.

    Args:
        folder: the pages of reference; the generated ones go into its folder ``generated``.
    """
    target = folder / "generated"
    target.mkdir(exist_ok=True)
    for kind in DECLARATIONS:
        plugins = [plugin for plugin in discover(kind).plugins.values() if plugin.origin == "built-in"]
        for plugin in plugins:
            _written(target / f"{kind}-{plugin.name}.rst", _card(plugin))
        _written(target / f"{kind}s.rst", _contents(kind, [plugin.name for plugin in plugins]))
    _written(target / "cli.md", _commands())


def _written(path: Path, text: str) -> None:
    """Only what differs is written, so that Sphinx reads only that again."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def _heading(text: str, line: str = "=") -> str:
    return f"{text}\n{line * len(text)}\n"


def _contents(kind: str, names: list[str]) -> str:
    entries = "".join(f"   {kind}-{name}\n" for name in names)
    return f"{_heading(f'A page for each {kind}')}\n.. toctree::\n   :maxdepth: 1\n\n{entries}"


def _card(plugin: Plugin) -> str:
    """A plugin's page: its module's docstring, what its class declares, and its options."""
    cls = plugin.load()
    declared = [(name, getattr(cls, name)) for name in DECLARATIONS[plugin.kind]]
    if plugin.kind == "estimator":
        declared.insert(0, ("accepts", ", ".join(node.__name__ for node in cls.accepts)))
    parts = [_heading(plugin.name), f".. automodule:: {plugin.module}\n"]
    if declared:
        parts += [_heading("Declarations", "-"), "".join(f"- ``{name}``: {value}\n" for name, value in declared)]
    options = [f"- ``{option.name}``: {_default(option)}\n" for option in options_of(cls).values()]
    parts += [_heading("Options and their defaults", "-"), "".join(options) or "There are none.\n"]
    if audited := _audited(plugin.name):
        parts += [_heading("Audited implementations of other libraries", "-"), "".join(audited)]
    parts += [_heading("Class", "-"), f".. autoclass:: {plugin.module}.{cls.__name__}\n"]
    return "\n".join(parts)


def _audited(name: str) -> list[str]:
    """The implementations that were compared with an estimator, with how they fared on each program."""
    found: list[dict[str, str]] = []
    for path in sorted(AUDITS.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            found += [
                row for row in csv.DictReader(file) if row["variance"].partition(" of ")[2].partition("[")[0] == name
            ]
    return [
        f"- {row['library']} {row['version']}, ``{row['estimator']}``, {row['program']}: {row['verdict']}; "
        f"size {row['size']} ({row['low']} to {row['high']}), {row['variance'].partition(' of ')[0]} of the variance\n"
        for row in found
    ]


def _default(option: inspect.Parameter) -> str:
    return "must be given" if option.default is inspect.Parameter.empty else repr(option.default)


def _commands() -> str:
    """The help of every command."""
    group = typer.main.get_command(app)
    lines = ["# The command line", "", "Every command explains itself: `estbench COMMAND --help`.", ""]
    for words, command in _walked(group, "estbench"):
        lines += [f"## {words}", "", _plain(command.help or ""), ""]
        rows = [(_names(parameter), _plain(getattr(parameter, "help", None) or "")) for parameter in command.params]
        if rows:
            lines += ["| argument or option | meaning |", "| --- | --- |"]
            lines += [f"| {names} | {meaning} |" for names, meaning in rows] + [""]
    return "\n".join(lines)


def _walked(command: Any, words: str) -> Iterator[tuple[str, Any]]:
    """All commands below a group, in order, with the words that call each."""
    if not isinstance(command, TyperGroup):
        yield words, command
        return
    for name, below in sorted(command.commands.items()):
        yield from _walked(below, f"{words} {name}")


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`"
    return ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])


def _plain(text: str) -> str:
    """Help without the marks of the terminal, on one line, with nothing that Markdown reads as markup."""
    text = re.sub(r"\s+", " ", text.replace("\\[", "[")).strip()
    return re.sub(r"([|<>\[\]*_`])", r"\\\1", text)
