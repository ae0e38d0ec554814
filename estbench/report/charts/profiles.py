"""Performance profiles over tasks."""

import abc
from typing import ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import PercentFormatter

from estbench.report.charts.base import Chart
from estbench.report.drawing.curves import curves, leaders
from estbench.report.drawing.legend import legend, legend_height
from estbench.report.drawing.style import logarithmic
from estbench.report.model.quantities import RELATIVE_BIAS, WORK
from estbench.report.model.study import Study


class ShareChart(Chart, abc.ABC):
    """Shares that estimators reach, by what is asked of them, over all tasks; the largest areas are in colour.

    Attributes:
        across: the column of the horizontal axis.
        labels: of the horizontal and the vertical axis.
        log: whether the horizontal axis is logarithmic.
    """

    across_tasks = True
    across: ClassVar[str]
    labels: ClassVar[tuple[str, str]]
    log: ClassVar[bool] = False

    @abc.abstractmethod
    def curves(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The points of the curves that are drawn of the rows."""

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
        """The estimators with the largest mean share, the area under the curve."""
        means = rows.groupby(["label"], as_index=False).agg(value=("value", "mean"), end=(self.across, "max"))
        return leaders(means.rename(columns={"end": self.across}), self.across, ascending=False)


class Profiles(ShareChart):
    """How often an estimator is within a factor of the best."""

    title = "Performance profiles"
    caption = (
        "Share of the tasks on which an estimator's variance × time is within a factor of the least "
        "(Dolan & Moré 2002). Left out: estimators without variance, and those with a bias that was found, as less "
        "variance at any price is not what is asked for. The best eight are in colour."
    )
    across = "factor"
    labels = ("factor of the best", "share of tasks")
    log = True

    def rows(self, study: Study, task: str) -> pd.DataFrame:  # noqa: ARG002
        """Shares by estimator and factor, over two tasks or more."""
        table = study.estimates[(study.estimates["quantity"] == WORK.key) & ~study.estimates["reference"]]
        biases = study.estimates[study.estimates["quantity"] == RELATIVE_BIAS.key]
        out = set(biases.loc[biases["low"] > 0, "label"])
        table = table[(table["value"] > 0) & ~table["label"].isin(out)]
        if table["task"].nunique() < 2:
            return table.iloc[:0]
        ratios = table.pivot_table(index="label", columns="task", values="value")
        ratios = ratios / ratios.min()
        factors = np.unique(np.append(np.asarray(ratios)[np.isfinite(ratios)], 1.0))
        shares = [(str(label), factor, (own <= factor).mean()) for label, own in ratios.iterrows()
                  for factor in factors]  # fmt: skip
        found = pd.DataFrame(shares, columns=["label", "factor", "value"])
        return found.assign(text=found["label"], low=np.nan, high=np.nan)

    def curves(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The same as stairs: a share holds until the next factor."""
        before = rows.assign(value=rows.groupby("label")["value"].shift()).dropna(subset="value")
        return pd.concat([before, rows]).sort_values(["label", "factor", "value"], kind="stable")
