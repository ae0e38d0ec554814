"""The report: tables, figures and a page from results, made without torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from estbench.report import gallery
from estbench.report.drawing.files import FigureTarget
from estbench.report.formats import latex, markdown, page
from estbench.report.formats.terminal import terminal_table
from estbench.report.gallery import plot
from estbench.report.illustrations import illustrate
from estbench.report.model.study import Study
from estbench.report.model.targets import check_wanted
from estbench.report.model.wide import summary
from estbench.report.text import provenance
from estbench.store.files import write_atomically

__all__ = ["FigureTarget", "illustrate", "plot", "summary", "terminal_table", "write"]


def write(
    results: pd.DataFrame,
    environment: Mapping[str, Any],
    folder: Path,
    targets: Mapping[str, float] | None = None,
) -> Path:
    """Writes a report and returns the path of its page, ``index.html``.

    It also writes ``report.md``, ``tables.tex`` (for booktabs), ``references.bib`` and the folder ``figures/``.

    Args:
        results: rows as in docs/reference/results.md.
        environment: information about the run (command, commit, versions, ...), which is printed. ``families`` may
            hold the family and ``papers`` the paper of each estimator by name, ``options`` all options by ``task`` or
            ``estimator``, specification and name, ``metrics`` what the measures declare, and
            ``planned`` the measures of the run by task and estimator, so that what has no row is named as missing.
        folder: the folder in which the report is written; it is made if it does not exist.
        targets: values of the objective to which the time of training is measured, by metric such as ``elbo_valid``; by
            default the worst final value of a task's trainings.

    Raises:
        UserError: a file cannot be written, or a target is of a metric that no training was evaluated on.
    """
    check_wanted(results, targets or {})
    found = Study.of(
        results,
        provenance.families(environment),
        provenance.options(environment),
        targets,
        provenance.metrics(environment),
        provenance.planned(environment),
    )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = gallery.draw_all(found, folder / "figures")
    illustrate("gumbel_softmax", folder / "figures")
    write_atomically(folder / "report.md", markdown.render(found, environment, drawn).encode())
    write_atomically(folder / "tables.tex", latex.render(found).encode())
    write_atomically(folder / "references.bib", latex.citations(found, environment).encode())
    index = folder / "index.html"
    write_atomically(index, page.render(found, environment, drawn, folder / "figures").encode())
    return index
