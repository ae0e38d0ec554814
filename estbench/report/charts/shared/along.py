"""Variance against training steps."""

import abc
from typing import ClassVar

import pandas as pd
from matplotlib.figure import Figure, SubFigure

from estbench.report.charts.base import Chart, titled
from estbench.report.drawing.curve_labels import ends_height, name_ends
from estbench.report.drawing.curves import LEADERS, curves, leaders
from estbench.report.drawing.legend import legend, legend_height
from estbench.report.drawing.style import logarithmic
from estbench.report.model.intervals import averaged
from estbench.report.model.quantities import points
from estbench.report.model.study import Study
from estbench.report.text.formatting import number

VARIANCE_AT = "Variance of one gradient estimate with respect to the logits, along a training run"
IN_COLOUR = (
    "If there are many estimators, the eight with the lowest variance at the end are in colour; estimators without "
    "variance are left out."
)


class Along(Chart, abc.ABC):
    """Variance at the points of a training run.

    Attributes:
        own: whether each estimator has its own training run, or all share one.
    """

    own: ClassVar[bool]

    def rows(self, study: Study, task: str) -> pd.DataFrame:
        """Variances by estimator and step, where at least two steps were measured."""
        rows = points(study.rows, own=self.own)
        rows = rows[(rows["task"] == task) & (rows["value"] > 0)]
        if rows["step"].nunique() < 2:
            return rows.iloc[:0]
        found = averaged(rows, ["task", "label", "step"])
        ends = found.sort_values("step").groupby("label")["value"].last()
        texts = {label: f"{label}: variance {number(value)} at the last step" for label, value in ends.items()}
        return found.assign(text=found["label"].map(texts))

    def height(self, rows: pd.DataFrame, width: float) -> float:
        """A panel and a legend, or for many curves the names beside them."""
        labels = list(rows["label"].unique())
        if len(labels) > LEADERS:
            return max(2.8, ends_height(labels))
        return 2.8 + legend_height(leaders(rows, "step", ascending=True), width, lines=True)

    def draw(self, figure: Figure | SubFigure, rows: pd.DataFrame, study: Study) -> None:
        """One panel."""
        axes = figure.subplots()
        front = leaders(rows, "step", ascending=True)
        curves(axes, rows, "step", front, study.looks, dots=True)
        logarithmic(axes, "y")
        axes.set(xlabel="training steps", ylabel="variance")
        titled(figure, study.display[rows["task"].iloc[0]], rows["task"].iloc[0])
        if rows["label"].nunique() > LEADERS:
            name_ends(axes, rows, "step", front, study.looks)
        else:
            legend(figure, front, study.looks, lines=True)
