"""Time of a training step, and memory."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from estbench.core.metrics import Quantity
from estbench.report.charts.base import LINE, Chart, estimator_lines, second, titled
from estbench.report.drawing.legend import magnification
from estbench.report.model.quantities import PEAK_MEMORY, STEP_TIME
from estbench.report.model.study import Study
from estbench.report.text.tables import scale_for

_OF_MEMORY = "_memory"
NARROW = 4.5  # height below the panels in inches, where the axes have labels of two lines


class SpeedChart(Chart):
    """Milliseconds of a training step and peak memory, fastest first."""

    title = "Time per step and memory"
    caption = "Median time of one training step, and peak memory where it was measured, with 95 % intervals."
    position = 90

    def rows(self, study: Study, task: str) -> pd.DataFrame:
        """Times, joined with memory."""
        times, memory = study.column(task, STEP_TIME.key), study.column(task, PEAK_MEMORY.key)
        joined = times.join(memory.add_suffix(_OF_MEMORY))
        return joined.reset_index().sort_values("value", kind="stable")

    def height(self, rows: pd.DataFrame, width: float) -> float:  # noqa: ARG002
        """One line per estimator."""
        return 0.9 + LINE * len(rows)

    def draw(self, figure: Figure | SubFigure, rows: pd.DataFrame, study: Study) -> None:
        """One or two panels side by side."""
        remembered = bool(rows[f"value{_OF_MEMORY}"].notna().any())
        panels = figure.subplots(1, 1 + remembered, squeeze=False)[0]
        gap = "\n" if magnification(figure)[0] < NARROW else " "
        _panel(panels[0], rows, STEP_TIME, study, f"{gap}per step")
        titled(figure, study.display[rows["task"].iloc[0]], rows["task"].iloc[0])
        if remembered:
            memory = rows[["label"]].join(second(rows, _OF_MEMORY))
            _panel(panels[1], memory, PEAK_MEMORY, study, f"{gap}at most")
            panels[1].set_yticklabels([])


def _panel(axes: Axes, rows: pd.DataFrame, quantity: Quantity, study: Study, what: str) -> None:
    scale, unit = scale_for(rows["value"], quantity)
    estimator_lines(axes, rows, quantity, study.looks, scale)
    axes.set_xlabel(unit + what)
