"""The report as a single self-contained page."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from estbench.report.charts.base import Chart
from estbench.report.drawing import svg
from estbench.report.formats import latex
from estbench.report.gallery import Drawn
from estbench.report.illustrations import ILLUSTRATIONS, Illustration
from estbench.report.model.study import Study
from estbench.report.text import comparison, provenance, published
from estbench.report.text.comparison import ComparisonTable
from estbench.report.text.findings import answers
from estbench.report.text.published import PublishedText
from estbench.report.text.tables import Table, table

# what may lie beside the page
_FILES = ("results.parquet", "results.csv", "report.md", "tables.tex", "references.bib")
_SCRIPTS = ("page.js", "explorer.js", "explorer_page.js")


@dataclass(frozen=True)
class InlineFigure:
    """A figure with its drawing, which is part of the page.

    Args:
        chart: the kind of figure, which has the title and the caption.
        drawing: the SVG.
    """

    chart: Chart | Illustration
    drawing: Markup


@dataclass(frozen=True)
class Part:
    """The part of the page about one task.

    Args:
        table: the main table.
        answers: the sentences above it.
        notes: the remarks on estimators, each with the estimator's label.
        figures: the figures.
        comparison: the differences to the best, if there are any.
        published: published results beside measured ones.
    """

    table: Table
    answers: Sequence[str]
    notes: Sequence[tuple[str, str]]
    figures: Sequence[InlineFigure]
    comparison: ComparisonTable | None
    published: PublishedText


def render(study: Study, environment: Mapping[str, Any], drawn: Sequence[Drawn], figures: Path) -> str:
    """The whole page.

    Its security policy allows only the page's own scripts, by their hashes, and loads nothing. The name of a plugin can
    therefore do no harm, even if it were not escaped somewhere.
    """
    scripts = [_own(name) for name in _SCRIPTS]
    return _template().render(
        headline=_headline(study),
        started=provenance.entry(environment, "started"),
        command=provenance.entry(environment, "command"),
        parts=[_part(study, task, drawn, figures) for task in study.tasks],
        common=_figures("", drawn, figures),
        across=comparison.of_all(study),
        columns=study.quantities,
        gumbel=_illustration("gumbel_softmax", figures),
        published_columns=published.COLUMNS,
        families=sorted(set(study.families.values())),
        looks=study.looks,
        provenance=provenance.entries(environment),
        files=[name for name in _FILES if (figures.parent / name).is_file()],
        bibtex=latex.citations(study, environment),
        style=_own("page.css"),
        scripts=scripts,
        hashes=Markup(" ".join(map(_hash, scripts))),  # noqa: S704
    )


def _template() -> jinja2.Template:
    loader = jinja2.FunctionLoader(_own)
    rules = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    rules.filters["breakable"] = _breakable
    return rules.get_template("page.html")


def _own(name: str) -> Markup:
    """A file of this package as markup, which is not escaped."""
    return Markup(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))  # noqa: S704


def _breakable(name: str) -> Markup:
    """An escaped name with places at which a narrow column may break it."""
    # none of these characters is part of an escape
    return Markup(re.sub(r"(?=\[)|(?<=[,_])", "<wbr>", str(escape(name))))  # noqa: S704


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _headline(study: Study) -> str:
    counts = ((len(study.labels), "estimator"), (len(study.tasks), "task"))
    return " on ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts)


def _part(study: Study, task: str, drawn: Sequence[Drawn], folder: Path) -> Part:
    found = table(study, task)
    return Part(
        found,
        answers(study, task),
        [(row.label, note) for row in found.rows for note in row.notes],
        _figures(task, drawn, folder),
        comparison.of_task(study, task),
        published.published(study, task),
    )


def _illustration(kind: str, folder: Path) -> InlineFigure:
    drawing = (folder / f"{kind}.svg").read_text(encoding="utf-8")
    about = ILLUSTRATIONS[kind]
    return InlineFigure(about, Markup(svg.inline(drawing, about.title)))  # noqa: S704


def _figures(task: str, drawn: Sequence[Drawn], folder: Path) -> list[InlineFigure]:
    found: list[InlineFigure] = []
    for each in drawn:
        if task in each.stems:
            drawing = (folder / f"{each.stems[task]}.svg").read_text(encoding="utf-8")
            about = f"{each.chart.title} {task}"
            found.append(InlineFigure(each.chart, Markup(svg.inline(drawing, about))))  # noqa: S704
    return found
