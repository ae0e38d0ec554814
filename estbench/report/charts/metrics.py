"""Metrics: one panel for each metric that has no figure of its own, with one line per estimator."""

import pandas as pd
from matplotlib.figure import Figure, SubFigure

from estbench.report.charts.base import LINE, Chart, estimator_lines, titled
from estbench.report.model.study import Study
from estbench.report.text.tables import scale_for

FRAME = 0.7  # height of a panel in inches, without its lines


class MetricsChart(Chart):
    """The metrics that declare ``told``, each in a panel, the best estimator first."""

    title = "Metrics"
    caption = (
        "One panel for each metric that a measure declares and that has no figure of its own: means over seeds with "
        "95 % intervals, the best estimator first."
    )
    position = 110

    def rows(self, study: Study, task: str) -> pd.DataFrame:
        """The estimates of these metrics, in the order of the tables."""
        told = [each for each in study.quantities_of(task) if each.declared.told]
        parts = []
        for quantity in told:
            column = study.column(task, quantity.key).reset_index()
            column = column[column["value"].notna()]
            parts.append(column.sort_values("value", ascending=quantity.better != "higher", kind="stable"))
        return pd.concat(parts, ignore_index=True) if parts else study.estimates.iloc[:0]

    def height(self, rows: pd.DataFrame, width: float) -> float:  # noqa: ARG002
        """One line per estimator in each panel."""
        return 0.2 + FRAME * rows["quantity"].nunique() + LINE * len(rows)

    def draw(self, figure: Figure | SubFigure, rows: pd.DataFrame, study: Study) -> None:
        """The panels, one above the other."""
        panels = [own for _, own in rows.groupby("quantity", sort=False)]
        ratios = [FRAME + LINE * len(own) for own in panels]
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=ratios)[:, 0]
        for place, own in zip(axes, panels, strict=True):
            quantity = study.quantity(own["quantity"].iloc[0])
            scale, unit = scale_for(own["value"], quantity)
            estimator_lines(place, own, quantity, study.looks, scale)
            place.set_xlabel(f"{quantity.title}, {unit}" if unit else quantity.title)
        titled(figure, study.display[rows["task"].iloc[0]], rows["task"].iloc[0])
