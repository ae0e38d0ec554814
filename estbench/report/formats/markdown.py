"""The report as Markdown, for a repository or a paper's supplement."""

from collections.abc import Mapping, Sequence
from typing import Any

from estbench.report.formats import latex
from estbench.report.gallery import Drawn
from estbench.report.model.study import Study
from estbench.report.text import comparison, provenance, published
from estbench.report.text.comparison import ComparisonTable
from estbench.report.text.findings import answers
from estbench.report.text.formatting import markdown
from estbench.report.text.tables import MARKS, Table, TableCell, table

_MARKS = {"best": " **best**", "close": " *equally good*", "tied": " *tied*"}


def render(study: Study, environment: Mapping[str, Any], drawn: Sequence[Drawn]) -> str:
    """The whole report: tables, reasons, figures and provenance."""
    parts = ["# estbench report", ""]
    for task in study.tasks:
        parts += [f"## {markdown(task)}", ""]
        parts += [*[f"- {markdown(sentence)}" for sentence in answers(study, task)], ""]
        shown = [quantity for quantity in study.quantities_of(task) if quantity.shown]
        parts += [*_table(table(study, task, shown)), "", *_comparison(comparison.of_task(study, task))]
        parts += [*_published(study, task), *_figures(task, drawn)]
    parts += [*_comparison(comparison.of_all(study)), *_figures("", drawn)]
    parts += ["## Provenance", "", *_provenance(environment)]
    bibtex = latex.citations(study, environment)
    # a block indented by four spaces is code, which no text in it can end
    block = ["", "## Papers", "", *[f"    {line}" for line in bibtex.splitlines()]] if bibtex else []
    return "\n".join([*parts, *block]) + "\n"


def _published(study: Study, task: str) -> list[str]:
    """Published values beside measured ones, with one table for each published one."""
    found = published.published(study, task)
    parts = ["### Beside published values", ""] if found.blocks or found.lines else []
    for block in found.blocks:
        parts += [f"{markdown(block.title)} ({block.link}): {markdown(block.metric)}.", ""]
        rows = [_line(list(map(markdown, row))) for row in block.rows]
        parts += [_line(list(published.COLUMNS)), _line(["---"] * len(published.COLUMNS)), *rows, ""]
        parts += [*[f"- {markdown(line)}" for line in block.lines], ""]
    return [*parts, *[f"{markdown(line)}\n" for line in found.lines]]


def _comparison(found: ComparisonTable | None) -> list[str]:
    """The comparison of the estimators with the best."""
    if found is None:
        return []
    head, *rows = [_line(list(map(markdown, row))) for row in (found.columns, *found.rows)]
    rows = [head, _line(["---"] * len(found.columns)), *rows]
    return [f"### {markdown(found.title)}", "", *rows, "", *[f"{markdown(line)}\n" for line in found.lines]]


def _figures(task: str, drawn: Sequence[Drawn]) -> list[str]:
    parts = []
    for each in drawn:
        if task in each.stems:
            title = each.chart.title
            parts += [f"### {title}", "", f"![{title}](figures/{each.stems[task]}.png)", "", each.chart.caption, ""]
    return parts


def _table(found: Table) -> list[str]:
    bias = ["declared"] if found.declares else []
    titles = ["estimator", *bias, *[heading.title for heading in found.headings]]
    lines = [_line([markdown(title) for title in titles])]
    lines += [_line([*["---"] * (1 + len(bias)), *["---:"] * len(found.headings)])]
    lines += [
        _line([*map(markdown, [row.title, row.declared][: 1 + len(bias)]), *map(_cell, row.cells)])
        for row in found.rows
    ]
    notes = [f"- {markdown(row.label)}: {markdown(note)}" for row in found.rows for note in row.notes]
    legend = " ".join([_LEGEND, *map(markdown, found.remarks)])
    return [*lines, "", legend, *([""] if notes else []), *notes]


_LEGEND = f"In parentheses: 95 % intervals. Best: the best value of its column; {MARKS}."


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: TableCell) -> str:
    interval = f" ({cell.interval})" if cell.interval else ""
    return markdown(cell.text + interval) + _MARKS.get(cell.mark, "")


def _provenance(environment: Mapping[str, Any]) -> list[str]:
    pairs = provenance.entries(environment)
    return [_line(["", ""]), _line(["---", "---"]), *[_line([markdown(k), markdown(v)]) for k, v in pairs]]
