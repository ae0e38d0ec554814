"""Finds the kinds of figures, draws them, and writes them to files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from estbench.core.metrics import Metrics
from estbench.errors import UserError, warn
from estbench.plugins.registry import Catalogue, parts
from estbench.report.charts.base import WIDTH, Chart
from estbench.report.drawing.files import FORMATS, check_formats, save
from estbench.report.drawing.style import SIZE, settings
from estbench.report.model.study import Options, Study
from estbench.report.text.formatting import slug


@dataclass(frozen=True)
class Drawn:
    """A kind of figure, drawn for every task that has results for it.

    Args:
        chart: the kind.
        stems: the names of its files without their suffixes, by task; the task is empty for a figure of all tasks.
    """

    chart: Chart
    stems: Mapping[str, str]


def charts() -> dict[str, Chart]:
    """All kinds of figures by name, in the order of a report; one that cannot be imported is left out with a warning.

    They are the files of ``estbench/report/charts/`` and the entry points ``estbench.charts`` of installed packages.
    """
    found = parts("chart")
    for problem in found.problems:
        warn(problem)
    made = dict(_made(found))
    return dict(sorted(made.items(), key=lambda item: (item[1].position, item[0])))


def _made(found: Catalogue) -> Iterator[tuple[str, Chart]]:
    for kind, plugin in found.plugins.items():
        try:
            yield kind, plugin.load()()
        except UserError as error:
            warn(str(error))


def plot(
    kind: str,
    results: pd.DataFrame,
    folder: Path,
    *,
    style: str = "paper",
    width: float | None = None,
    formats: Sequence[str] = FORMATS,
    families: Mapping[str, str] | None = None,
    options: Options | None = None,
    metrics: Metrics | None = None,
    name: str = "",
) -> list[Path]:
    """Draws one kind of figure, a panel for each task, and returns the files.

    Args:
        kind: as ``estbench list charts`` names it.
        results: rows as in docs/reference/results.md.
        folder: where the files are written.
        style: ``paper`` or ``talk``.
        width: inches; by default one column a task.
        formats: any of ``svg``, ``png``, ``pdf``.
        families: family by estimator's name.
        options: all options by ``task`` or ``estimator``, specification and name, for ``published``.
        metrics: what the measures declare, as a run's folder holds it; the built-in ones need none.
        name: of the files, without a suffix; by default the kind.

    Raises:
        ValueError: there is no such kind, style or format, or nothing to draw.
    """
    check_formats(formats)
    figure = draw(kind, Study.of(results, families, options, metrics=metrics), style=style, width=width)
    with mpl.rc_context(settings(style)):
        return save(figure, folder, name or kind, formats)


def draw(kind: str, found: Study, *, style: str = "paper", width: float | None = None) -> Figure:
    """Draws one kind of figure, a panel for each task.

    Args:
        kind: as ``estbench list charts`` names it.
        found: what is shown.
        style: ``paper`` or ``talk``.
        width: inches; by default one column a task.

    Raises:
        ValueError: there is no such kind or style, or nothing to draw.
    """
    chart: Chart = parts("chart")[kind].load()()
    look = settings(style)
    panels = _panels(chart, found)
    if not panels:
        raise ValueError(f"these results hold nothing that a figure of kind {kind!r} shows")
    with mpl.rc_context(look):
        figure = _compose(chart, panels, found, width, look["font.size"] / SIZE)
        _uncrowd(figure)
    return figure


def draw_all(found: Study, folder: Path) -> list[Drawn]:
    """Draws every kind for every task that has it, and returns the kinds that any has."""
    drawn: list[Drawn] = []
    # writing fonts as outlines takes half the time of embedding them, as ``plot`` does
    with mpl.rc_context({**settings("paper"), "pdf.fonttype": 3}):
        for kind, chart in charts().items():
            stems: dict[str, str] = {}
            for i, (task, rows) in enumerate(_panels(chart, found).items(), 1):
                # numbered, since two tasks may have the same slug
                stem = f"{kind}-{i}-{slug(task)}" if task else kind
                save(_compose(chart, {task: rows}, found, None, 1.0), folder, stem, FORMATS)
                stems[task] = stem
            drawn += [Drawn(chart, stems)] if stems else []
    return drawn


def _panels(chart: Chart, found: Study) -> dict[str, pd.DataFrame]:
    """The rows that a chart draws, by task; the task is empty for a chart of all tasks."""
    tasks = [""] if chart.across_tasks else found.tasks
    return {task: rows for task in tasks if len(rows := chart.rows(found, task))}


def _compose(
    chart: Chart, panels: Mapping[str, pd.DataFrame], found: Study, width: float | None, scale: float
) -> Figure:
    width = width or WIDTH * scale * len(panels)
    columns = min(len(panels), max(1, round(width / (WIDTH * scale))))
    lines = -(-len(panels) // columns)
    height = scale * max(chart.height(rows, width / columns / scale) for rows in panels.values())
    figure = Figure(figsize=(width, height * lines), layout="constrained")
    parts = figure.subfigures(lines, columns, squeeze=False).flat if len(panels) > 1 else [figure]
    for part, rows in zip(parts, panels.values(), strict=False):
        chart.draw(part, rows, found)
    return figure


def _uncrowd(figure: Figure) -> None:
    """Removes the labels of ticks that would overlap if a figure is too narrow for them."""
    figure.draw_without_rendering()
    kept: list[Bbox] = []
    for axes in figure.axes:
        low, high = sorted(axes.get_xlim())
        # axes also have ticks outside their range
        for text in [t for t in axes.get_xticklabels() if t.get_text() and low <= t.get_position()[0] <= high]:
            box = text.get_window_extent().padded(1.0)
            if box.count_overlaps(kept):
                text.set_visible(False)
            else:
                kept.append(box)
