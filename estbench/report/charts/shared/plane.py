"""Planes of bias against variance, or against variance times time."""

import abc
from typing import ClassVar

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.path import Path

from estbench.core.metrics import Quantity
from estbench.report.charts.base import Chart, mark_zero, point, second, titled, zero_place
from estbench.report.drawing.legend import legend, legend_height, magnification
from estbench.report.drawing.point_labels import place_numbers
from estbench.report.drawing.style import logarithmic
from estbench.report.model.looks import INK, Look
from estbench.report.model.quantities import RELATIVE_BIAS
from estbench.report.model.study import Study
from estbench.report.text.tables import exact

MANY = 10
_ARROW = Path([(0, 0), (0, -1), (-0.2, -0.75), (0, -1), (0.2, -0.75)], [1, 2, 1, 2, 2])
ARROWS = (
    "An arrow pointing down marks an estimator in which no bias was found: its bias lies below the upper end of its "
    "interval, at which the arrow starts."
)


class Plane(Chart, abc.ABC):
    """Relative bias against another quantity.

    Attributes:
        across: the quantity on the horizontal axis.
        front: whether the Pareto front is drawn.
    """

    across: ClassVar[Quantity]
    front: ClassVar[bool]

    def rows(self, study: Study, task: str) -> pd.DataFrame:
        """Both quantities of each estimator for which both were measured."""
        bias, other = (study.column(task, quantity.key) for quantity in (RELATIVE_BIAS, self.across))
        both = bias.join(other.add_suffix("_x"), how="inner").reset_index()
        return both[both["value"].notna() & both["value_x"].notna()].sort_values("label", kind="stable")

    def height(self, rows: pd.DataFrame, width: float) -> float:
        """A plane and a legend."""
        return 3.1 + legend_height(list(rows["label"]), width, lines=False)

    def draw(self, figure: Figure | SubFigure, rows: pd.DataFrame, study: Study) -> None:
        """One panel with a legend."""
        axes = figure.subplots()
        zero = zero_place(rows["value_x"])
        places = _places(rows, zero)
        for place, (_, row) in zip(places, rows.iterrows(), strict=True):
            self._point(axes, row, study.looks[row["label"]], place)
        _intervals(axes, rows, places, [study.looks[label].colour for label in rows["label"]])
        axes.margins(0.08, 0.12)
        for which in ("x", "y"):
            logarithmic(axes, which)
        if self.front:
            _draw_front(axes, rows, places)
        mark_zero(axes, rows["value_x"], zero)
        axes.set(xlabel=self.across.title.lower(), ylabel="relative bias")
        titled(figure, study.display[rows["task"].iloc[0]], rows["task"].iloc[0])
        labels = list(rows["label"])
        if len(labels) > MANY:
            width, height, scale = magnification(figure)
            panel = (width - 1.0, height - 0.6 - legend_height(labels, width, lines=False))
            place_numbers(axes, places, list(rows["low"] <= 0), panel, scale)
        legend(figure, labels, study.looks, lines=False, numbered=len(labels) > MANY)

    def _point(self, axes: Axes, row: pd.Series, look: Look, place: tuple[float, float]) -> None:
        none = bool(row["low"] <= 0)
        if none:
            axes.plot(
                *place,
                marker=_ARROW,
                markersize=4 * mpl.rcParams["font.size"],
                color=look.colour,
                markerfacecolor="none",
            )
        point(axes, place, look, self._text(row), hollow=none)

    def _text(self, row: pd.Series) -> str:
        other = second(row.to_frame().T, "_x").iloc[0]
        found = " (no bias found)" if row["low"] <= 0 else ""
        return f"{row['label']}: {exact(RELATIVE_BIAS, row)}{found}; {exact(self.across, other)}"


def _places(rows: pd.DataFrame, zero: float) -> list[tuple[float, float]]:
    """The places of the points; if no bias was found, the upper end of the interval."""
    up = rows["value"].where(~(rows["low"] <= 0), rows["high"])
    return list(zip(rows["value_x"].clip(lower=zero), up.clip(lower=zero_place(up)), strict=True))


def _intervals(axes: Axes, rows: pd.DataFrame, places: list[tuple[float, float]], colours: list[str]) -> None:
    x, y = (pd.Series(side, rows.index) for side in zip(*places, strict=True))
    left, right = (rows[side].where(rows["low_x"] > 0, x) for side in ("low_x", "high_x"))
    bottom, top = (rows[side].where(rows["low"] > 0, y) for side in ("low", "high"))
    axes.hlines(y, left, right, colors=colours, linewidth=1, alpha=0.6)
    axes.vlines(x, bottom, top, colors=colours, linewidth=1, alpha=0.6)


def pareto(rows: pd.DataFrame) -> list[int]:
    """Positions of the rows that no other row surpasses in both quantities; a bias that was not found counts as 0."""
    bias = rows["value"].mask(rows["low"] <= 0, 0.0)
    pairs = sorted(zip(rows["value_x"], bias, range(len(rows)), strict=True))
    front: list[int] = []
    least = float("inf")
    for _, height, i in pairs:
        if height < least:
            front, least = [*front, i], height
    return front


def _draw_front(axes: Axes, rows: pd.DataFrame, places: list[tuple[float, float]]) -> None:
    rivals = [i for i, reference in enumerate(rows["reference"]) if not reference]
    front = [places[rivals[i]] for i in pareto(rows.iloc[rivals])]
    if not front:
        return
    x, y = zip(*front, strict=True)
    axes.plot(x, y, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1.5)
