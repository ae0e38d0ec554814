"""The estimators that are not told apart from the best."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from estbench.report.charts.base import LINE, Chart, point, titled
from estbench.report.drawing.style import name
from estbench.report.model.looks import INK
from estbench.report.model.study import Study
from estbench.report.text.tables import exact

_BAR = 1.03  # place of the bar, as a fraction of the width of the axes


class Ties(Chart):
    """Estimators by their final objective, with a bar beside those that are not told apart from the best."""

    title = "Ties"
    caption = (
        "The final objective, best first, with Student's 95 % interval over seeds. The bar on the right marks all "
        "estimators that are not told apart from the best, as in the table; beside the others is only a thin line "
        "(5 %, adjusted for all comparisons with the best)."
    )
    position = 80

    def rows(self, study: Study, task: str) -> pd.DataFrame:
        """The final objective on test data, best first; nothing if no test could be made."""
        quantity = study.objective(task)
        if quantity is None:
            return study.estimates.iloc[:0]
        column = study.contestants(task, quantity.key).reset_index()
        column = column[column["value"].notna()]
        if not column["tied"].any():
            return column.iloc[:0]
        return column.sort_values("value", ascending=quantity.better == "lower", kind="stable")

    def height(self, rows: pd.DataFrame, width: float) -> float:  # noqa: ARG002
        """One line per estimator."""
        return 0.9 + LINE * len(rows)

    def draw(self, figure: Figure | SubFigure, rows: pd.DataFrame, study: Study) -> None:
        """One panel with a bar beside it."""
        axes = figure.subplots()
        quantity = study.quantity(rows["quantity"].iloc[0])
        for line, (_, row) in enumerate(rows.iterrows()):
            look = study.looks[row["label"]]
            point(axes, (row["value"], line), look, f"{row['label']}: {exact(quantity, row)}")
        colours = [study.looks[label].colour for label in rows["label"]]
        axes.hlines(range(len(rows)), rows["low"], rows["high"], colors=colours, linewidth=2.2, alpha=0.55)
        _draw_bar(axes, [line for line, tied in enumerate(rows["tied"]) if tied])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_yticks(range(len(rows)), [name(label) for label in rows["label"]])
        axes.tick_params("y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(quantity.title)
        titled(figure, study.display[rows["task"].iloc[0]], rows["task"].iloc[0])


def _draw_bar(axes: Axes, tied: list[int]) -> None:
    """Draws a bar beside these lines, which need not be neighbours, and a thin line from the first to the last."""
    if len(tied) < 2:
        return
    style: dict[str, Any] = {
        "color": INK,
        "clip_on": False,
        "transform": axes.get_yaxis_transform(),
        "solid_capstyle": "butt",
    }
    axes.plot([_BAR] * 2, [tied[0], tied[-1]], linewidth=0.8, **style)
    for line in tied:
        axes.plot([_BAR] * 2, [line - 0.4, line + 0.4], linewidth=3.0, **style)
