"""The base class of figures, and the functions that figures share."""

import abc
import math
from collections.abc import Mapping
from typing import ClassVar

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from estbench.core.metrics import Quantity
from estbench.report.drawing.style import PAPER, hover, logarithmic, name
from estbench.report.model.looks import INK, Look
from estbench.report.model.study import Study
from estbench.report.text.formatting import power_of_ten
from estbench.report.text.tables import exact

WIDTH = 4.8
LINE = 0.2


class Chart(abc.ABC):
    """A kind of figure.

    Attributes:
        title: its heading.
        caption: how to read it, in a sentence or two.
        across_tasks: whether one figure shows all tasks.
        position: its place in a report: kinds with lower numbers come first, those with equal numbers by name.
    """

    title: ClassVar[str]
    caption: ClassVar[str]
    across_tasks: ClassVar[bool] = False
    position: ClassVar[int] = 1000

    @abc.abstractmethod
    def rows(self, study: Study, task: str) -> pd.DataFrame:
        """The data that it draws for a task, or for all tasks; empty if there is nothing to draw."""

    @abc.abstractmethod
    def height(self, rows: pd.DataFrame, width: float) -> float:
        """The height in inches that it needs at a width, in the style "paper"."""

    @abc.abstractmethod
    def draw(self, figure: Figure | SubFigure, rows: pd.DataFrame, study: Study) -> None:
        """Draws rows."""


def estimator_lines(
    axes: Axes, rows: pd.DataFrame, quantity: Quantity, looks: Mapping[str, Look], scale: float = 1.0
) -> None:
    """Draws one line per estimator, from the top: its value with the interval, on the axis that the metric declares."""
    log = quantity.declared.log
    zero = zero_place(rows["value"] / scale)
    for line, (_, row) in enumerate(rows.iterrows()):
        if math.isnan(row["value"]):
            continue
        hollow = log and row["value"] <= 0
        look, place = looks[row["label"]], zero if hollow else row["value"] / scale
        point(axes, (place, line), look, f"{row['label']}: {exact(quantity, row)}", hollow=hollow)
    colours = [looks[label].colour for label in rows["label"]]
    low, high = (rows[side].clip(lower=zero * scale if log else None) / scale for side in ("low", "high"))
    axes.hlines(range(len(rows)), low, high, colors=colours, linewidth=2.2, alpha=0.55)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [name(label, looks[label]) for label in rows["label"]])
    axes.tick_params("y", length=0)
    axes.grid(visible=False, axis="y")
    if log:
        logarithmic(axes, "x")
        mark_zero(axes, rows["value"], zero)


def point(axes: Axes, place: tuple[float, float], look: Look, text: str, *, hollow: bool = False) -> None:
    """A value as a point, with a tooltip that gives the exact value."""
    face = PAPER if hollow else look.colour
    (line,) = axes.plot(*place, look.marker, color=look.colour, markerfacecolor=face, markeredgewidth=1.2)
    line.set_gid(hover(text))
    line.set_clip_on(False)


def second(joined: pd.DataFrame, suffix: str) -> pd.DataFrame:
    """The columns of the second of two joined quantities, under their original names."""
    columns = [column for column in joined.columns if column.endswith(suffix)]
    return joined[columns].rename(columns=lambda column: column.removesuffix(suffix))


def zero_place(values: pd.Series) -> float:
    """The place at which a logarithmic axis shows a value of exactly 0."""
    positive = values[values > 0]
    return 1.0 if positive.empty else float(positive.min()) / 4


def mark_zero(axes: Axes, values: pd.Series, place: float) -> None:
    """Adds a tick with the label 0 at the place of zeros on a horizontal logarithmic axis."""
    if not (values <= 0).any():
        return
    axes.axvline(place * 2, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if max(low, place * 3) < tick <= high]
    axes.set_xticks([place, *ticks], ["0", *map(power_of_ten, ticks)])
    axes.set_xlim(min(low, place / 1.3), high)


def titled(figure: Figure | SubFigure, title: str, whole: str = "") -> None:
    """Draws the title of a figure or of one task's panel, with the full text as its tooltip.

    It starts at the left edge, since there is no room for it over axes beside long names.
    """
    size = mpl.rcParams["axes.titlesize"]
    text = figure.suptitle(name(title), x=0.01, horizontalalignment="left", fontsize=size)
    text.set_gid(hover(whole or title))
