"""All kinds of figures, and how they become files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from estbench.core.metrics import Metrics
from estbench.report.charts.base import WIDTH, Chart
from estbench.report.charts.bias import BiasVariance, Efficiency
from estbench.report.charts.classes import Classes
from estbench.report.charts.metrics import MetricsChart
from estbench.report.charts.pictures import Pictures
from estbench.report.charts.profiles import Profiles
from estbench.report.charts.published import PublishedChart
from estbench.report.charts.scores import ScoreProfiles
from estbench.report.charts.speed import SpeedChart
from estbench.report.charts.temperature import Temperature
from estbench.report.charts.ties import Ties
from estbench.report.charts.training import TrainingChart
from estbench.report.charts.trajectory import OwnTrajectory, Trajectory
from estbench.report.charts.variance import Variance
from estbench.report.drawing.files import FORMATS, check_formats, save
from estbench.report.drawing.style import SIZE, settings
from estbench.report.model.study import Options, Study
from estbench.report.text.formatting import slug

CHARTS: Mapping[str, Chart] = {
    "variance": Variance(),
    "bias-variance": BiasVariance(),
    "trajectory": Trajectory(),
    "own-trajectory": OwnTrajectory(),
    "temperature": Temperature(),
    "efficiency": Efficiency(),
    "training": TrainingChart(),
    "ties": Ties(),
    "speed": SpeedChart(),
    "classes": Classes(),
    "metrics": MetricsChart(),
    "published": PublishedChart(),
    "pictures": Pictures(),
    "profiles": Profiles(),
    "scores": ScoreProfiles(),
}


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
) -> list[Path]:
    """Draws one kind of figure, a panel for each task, and returns the files.

    Args:
        kind: one of ``CHARTS``.
        results: rows as in docs/results.md.
        folder: where ``KIND.FORMAT`` is written.
        style: ``paper`` or ``talk``.
        width: inches; by default one column a task.
        formats: any of ``svg``, ``png``, ``pdf``.
        families: family by estimator's name.
        options: all options by ``task`` or ``estimator``, specification and name, for ``published``.
        metrics: what the measures declare, as a run's folder holds it; the built-in ones need none.

    Raises:
        ValueError: there is no such kind, style or format, or nothing to draw.
    """
    check_formats(formats)
    figure = draw(kind, Study.of(results, families, options, metrics=metrics), style=style, width=width)
    with mpl.rc_context(settings(style)):
        return save(figure, folder, kind, formats)


def draw(kind: str, found: Study, *, style: str = "paper", width: float | None = None) -> Figure:
    """Draws one kind of figure, a panel for each task.

    Args:
        kind: one of ``CHARTS``.
        found: what is shown.
        style: ``paper`` or ``talk``.
        width: inches; by default one column a task.

    Raises:
        ValueError: there is no such kind or style, or nothing to draw.
    """
    if kind not in CHARTS:
        raise ValueError(f"the kinds of figures are {', '.join(CHARTS)}; got {kind!r}")
    chart, look = CHARTS[kind], settings(style)
    panels = _panels(chart, found)
    if not panels:
        raise ValueError(f"these results hold nothing that a figure of kind {kind!r} shows")
    with mpl.rc_context(look):
        figure = _compose(chart, panels, found, width, look["font.size"] / SIZE)
        _uncrowd(figure)
    return figure


def draw_all(found: Study, folder: Path) -> dict[str, dict[str, str]]:
    """Draws every kind for every task that has it, and returns the files' stems by kind and task."""
    stems: dict[str, dict[str, str]] = {}
    # fonts as outlines: half the time of embedding them, which ``plot`` does
    with mpl.rc_context({**settings("paper"), "pdf.fonttype": 3}):
        for kind, chart in CHARTS.items():
            for i, (task, rows) in enumerate(_panels(chart, found).items(), 1):
                # numbered, as two tasks may make one slug
                stem = f"{kind}-{i}-{slug(task)}" if task else kind
                save(_compose(chart, {task: rows}, found, None, 1.0), folder, stem, FORMATS)
                stems.setdefault(kind, {})[task] = stem
    return stems


def _panels(chart: Chart, found: Study) -> dict[str, pd.DataFrame]:
    """What a chart draws by task; the task is empty for a chart of all."""
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
    """Leaves out what ticks would say over one another, where a width is asked for that has no room for it."""
    figure.draw_without_rendering()
    kept: list[Bbox] = []
    for axes in figure.axes:
        low, high = sorted(axes.get_xlim())
        # axes also have ticks outside what they show
        for text in [t for t in axes.get_xticklabels() if t.get_text() and low <= t.get_position()[0] <= high]:
            box = text.get_window_extent().padded(1.0)
            if box.count_overlaps(kept):
                text.set_visible(False)
            else:
                kept.append(box)
