"""Performance profiles of where trainings end, over tasks and seeds."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import PercentFormatter

from estbench.report.charts.base import Chart
from estbench.report.drawing.curves import curves, leaders
from estbench.report.drawing.legend import legend, legend_height
from estbench.report.model.study import Study
from estbench.report.text.comparison import scores
from estbench.stats import profile

THRESHOLDS = np.linspace(0, 1, 101)


class ScoreProfiles(Chart):
    """How often a training scores more than so much."""

    title = "Scores"
    caption = (
        "Share of all trainings, over tasks and seeds, whose final objective scores more than a threshold (Agarwal et "
        "al. 2021); on each task 0 is the worst of the estimators' means and 1 the best. Bands hold at each threshold "
        "with 95 %; with fewer than five seeds there are none. The best eight are in colour."
    )
    across_tasks = True

    def rows(self, study: Study, task: str) -> pd.DataFrame:  # noqa: ARG002
        """Shares by estimator and threshold, over two tasks or more."""
        found = scores(study)
        if len(found) < 2 or len(next(iter(found.values()))) < 2:
            return study.estimates.iloc[:0]
        tables = []
        for label, own in found.items():
            share, low, high = profile(own, THRESHOLDS)
            columns = {"threshold": THRESHOLDS, "value": share, "low": low, "high": high}
            tables.append(pd.DataFrame({"label": label, "text": label, **columns}))
        return pd.concat(tables, ignore_index=True)

    def height(self, rows: pd.DataFrame, width: float) -> float:
        """A panel and a legend."""
        return 2.8 + legend_height(_best(rows), width, lines=True)

    def draw(self, figure: Figure | SubFigure, rows: pd.DataFrame, study: Study) -> None:
        """One panel."""
        axes = figure.subplots()
        curves(axes, rows, "threshold", _best(rows), study.looks)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set(xlabel="score", ylabel="share of trainings above it", ylim=(-0.03, 1.03))
        legend(figure, _best(rows), study.looks, lines=True)


def _best(rows: pd.DataFrame) -> list[str]:
    """The estimators with the largest area under the profile."""
    means = rows.groupby(["label"], as_index=False).agg(value=("value", "mean"), threshold=("threshold", "max"))
    return leaders(means, "threshold", ascending=False)
