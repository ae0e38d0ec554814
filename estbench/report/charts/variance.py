"""Variance by estimator."""

import pandas as pd
from matplotlib.figure import Figure, SubFigure

from estbench.report.charts.base import LINE, Chart, estimator_lines, titled
from estbench.report.model.quantities import VARIANCE
from estbench.report.model.study import Study


class Variance(Chart):
    """Variance by estimator, smallest first."""

    title = "Variance by estimator"
    caption = (
        "Variance of one gradient estimate with respect to the logits, at the last step measured, with 95 % intervals. "
        "Further left is better."
    )
    position = 10

    def rows(self, study: Study, task: str) -> pd.DataFrame:
        """The variances."""
        return study.column(task, VARIANCE.key).reset_index().sort_values("value", kind="stable")

    def height(self, rows: pd.DataFrame, width: float) -> float:  # noqa: ARG002
        """One line per estimator."""
        return 0.9 + LINE * len(rows)

    def draw(self, figure: Figure | SubFigure, rows: pd.DataFrame, study: Study) -> None:
        """One panel."""
        axes = figure.subplots()
        estimator_lines(axes, rows, VARIANCE, study.looks)
        axes.set_xlabel("variance")
        titled(figure, study.display[rows["task"].iloc[0]], rows["task"].iloc[0])
