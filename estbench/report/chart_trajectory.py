"""Variance against training steps."""

import pandas as pd
from matplotlib.figure import Figure, SubFigure

from estbench.report.chart import Chart, legend, legend_height, titled
from estbench.report.intervals import averaged
from estbench.report.lines import curves, leaders
from estbench.report.quantities import logits_group
from estbench.report.study import Study
from estbench.report.style import logarithmic
from estbench.report.text import number


class Trajectory(Chart):
    """Variance at the points of one training run."""

    title = "Variance along training"
    caption = (
        "Variance of one gradient estimate about the logits, at the parameters after so many steps of "
        "training. Of many estimators the eight that end lowest are in colour; those without variance are left "
        "out."
    )

    def rows(self, study: Study, task: str) -> pd.DataFrame:
        """Variances by estimator and step, where at least two steps were measured."""
        rows = logits_group(study.rows)
        rows = rows[(rows["task"] == task) & (rows["quantity"] == "variance") & (rows["value"] > 0)]
        if rows["step"].nunique() < 2:
            return rows.iloc[:0]
        found = averaged(rows, ["task", "label", "step"])
        ends = found.sort_values("step").groupby("label")["value"].last()
        texts = {label: f"{label}: variance {number(value)} at the last step" for label, value in ends.items()}
        return found.assign(text=found["label"].map(texts))

    def height(self, rows: pd.DataFrame) -> float:
        """A panel and a legend."""
        return 2.8 + legend_height(leaders(rows, "step", ascending=True))

    def draw(self, figure: Figure | SubFigure, rows: pd.DataFrame, study: Study) -> None:
        """One panel."""
        axes = figure.subplots()
        front = leaders(rows, "step", ascending=True)
        curves(axes, rows, "step", front, study.looks, dots=True)
        logarithmic(axes, "y")
        axes.set(xlabel="training steps", ylabel="variance")
        titled(axes, rows["task"].iloc[0])
        legend(figure, front, study.looks, lines=True)
