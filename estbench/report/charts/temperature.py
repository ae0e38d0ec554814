"""Bias and variance of relaxed estimators by temperature."""

import json

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from estbench.core.metrics import Quantity
from estbench.report.charts.base import Chart, point, titled
from estbench.report.drawing.legend import legend, legend_height
from estbench.report.drawing.style import logarithmic
from estbench.report.model.looks import Look
from estbench.report.model.quantities import RELATIVE_BIAS, VARIANCE
from estbench.report.model.rows import label
from estbench.report.model.study import Study
from estbench.report.text.tables import exact


class Temperature(Chart):
    """Relative bias and variance against temperature."""

    title = "Temperature"
    caption = (
        "Relative bias and variance of estimators that were run at several temperatures, with 95 % "
        "intervals. A hollow point is the upper end of an interval that begins at 0: no bias was found."
    )
    position = 50

    def rows(self, study: Study, task: str) -> pd.DataFrame:
        """Bias and variance by temperature of each estimator that was run at several temperatures."""
        rows = study.rows[study.rows["task"] == task].drop_duplicates("label")
        sweep = pd.DataFrame(
            [(own, *_without(name, params)) for own, name, params in
             zip(rows["label"], rows["estimator"], rows["params"], strict=True)],
            columns=["label", "line", "temperature"],
        ).dropna()  # fmt: skip
        sweep = sweep[sweep.groupby("line")["temperature"].transform("nunique") > 1]
        quantities = [RELATIVE_BIAS.key, VARIANCE.key]
        own = study.estimates[(study.estimates["task"] == task) & study.estimates["quantity"].isin(quantities)]
        return sweep.merge(own, on="label").sort_values(["line", "temperature"])

    def height(self, rows: pd.DataFrame, width: float) -> float:
        """Two panels and a legend."""
        return 4.2 + legend_height(list(rows["line"].unique()), width, lines=True)

    def draw(self, figure: Figure | SubFigure, rows: pd.DataFrame, study: Study) -> None:
        """Two panels, one above the other."""
        above, below = figure.subplots(2, 1, sharex=True)
        looks = {str(line): study.looks[own["label"].iloc[0]] for line, own in rows.groupby("line")}
        for axes, quantity in ((above, RELATIVE_BIAS), (below, VARIANCE)):
            for line, own in rows[rows["quantity"] == quantity.key].groupby("line"):
                _line(axes, own, quantity, looks[str(line)])
            for which in ("x", "y"):
                logarithmic(axes, which)
            temperatures = sorted(rows["temperature"].unique())
            axes.set_xticks(temperatures, [f"{temperature:g}" for temperature in temperatures])
            axes.set_ylabel(quantity.title.lower())
        below.set_xlabel("temperature")
        titled(figure, study.display[rows["task"].iloc[0]], rows["task"].iloc[0])
        legend(figure, list(looks), looks, lines=True)


def _without(name: str, params: str) -> tuple[str, float | None]:
    """The label of an estimator without its temperature, and the temperature if it has one."""
    try:
        options = dict(json.loads(params or "{}"))
        temperature = float(options.pop("temperature"))
    except (KeyError, TypeError, ValueError):
        return name, None
    return label(name, json.dumps(options)), temperature if temperature > 0 else None


def _line(axes: Axes, rows: pd.DataFrame, quantity: Quantity, look: Look) -> None:
    found = ~(rows["low"] <= 0) | (quantity.key == VARIANCE.key)
    heights = rows["value"].where(found, rows["high"])
    shown = heights > 0
    axes.plot(rows["temperature"][shown], heights[shown], color=look.colour, linestyle=look.dash)
    for (_, row), sure, height in zip(rows[shown].iterrows(), found[shown], heights[shown], strict=True):
        if sure and row["high"] > row["low"] > 0:
            axes.plot([row["temperature"]] * 2, [row["low"], row["high"]], color=look.colour, linewidth=1)
        text = f"{row['label']}: {exact(quantity, row)}"
        point(axes, (row["temperature"], height), look, text, hollow=not sure)
