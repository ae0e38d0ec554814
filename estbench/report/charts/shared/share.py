"""Shares over tasks or trainings."""

import abc
from typing import ClassVar

import pandas as pd
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import PercentFormatter

from estbench.report.charts.base import Chart
from estbench.report.drawing.curves import curves, leaders
from estbench.report.drawing.legend import legend, legend_height
from estbench.report.drawing.style import logarithmic
from estbench.report.model.study import Study


class ShareChart(Chart, abc.ABC):
    """Shares over all tasks that estimators reach, against a factor or threshold; the largest areas are in colour.

    Attributes:
        across: the column of the horizontal axis.
        labels: labels of the horizontal and of the vertical axis.
        log: whether the horizontal axis is logarithmic.
    """

    across_tasks = True
    across: ClassVar[str]
    labels: ClassVar[tuple[str, str]]
    log: ClassVar[bool] = False

    @abc.abstractmethod
    def curves(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The points of the curves, from the rows."""

    def height(self, rows: pd.DataFrame, width: float) -> float:
        """A panel and a legend."""
        return 2.8 + legend_height(self._best(rows), width, lines=True)

    def draw(self, figure: Figure | SubFigure, rows: pd.DataFrame, study: Study) -> None:
        """One panel."""
        axes, best = figure.subplots(), self._best(rows)
        curves(axes, self.curves(rows), self.across, best, study.looks)
        if self.log:
            logarithmic(axes, "x")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set(xlabel=self.labels[0], ylabel=self.labels[1], ylim=(-0.03, 1.03))
        legend(figure, best, study.looks, lines=True)

    def _best(self, rows: pd.DataFrame) -> list[str]:
        """The estimators with the largest mean share, which is the area under the curve."""
        means = rows.groupby(["label"], as_index=False).agg(value=("value", "mean"), end=(self.across, "max"))
        return leaders(means.rename(columns={"end": self.across}), self.across, ascending=False)
