"""Curves of many estimators: the leaders in colour, the others behind them."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes

from estbench.report.drawing.style import FAINT, hover
from estbench.report.model.looks import Look

LEADERS = 8


def leaders(rows: pd.DataFrame, x: str, *, ascending: bool) -> list[str]:
    """The estimators whose curves end best."""
    ends = rows.sort_values(x, kind="stable").groupby("label").tail(1)
    return list(ends.sort_values("value", ascending=ascending, kind="stable")["label"][:LEADERS])


def curves(
    axes: Axes,
    rows: pd.DataFrame,
    x: str,
    front: Sequence[str],
    looks: Mapping[str, Look],
    *,
    bands: bool = True,
    dots: bool = False,
) -> None:
    """Draws one curve per estimator over ``x``; the column ``text`` of ``rows`` holds the tooltip of the curve."""
    for label, curve in rows.sort_values(x, kind="stable").groupby("label", sort=False):
        if label not in front:
            (line,) = axes.plot(curve[x], curve["value"], color=FAINT, linewidth=1, zorder=1)
            line.set_gid(hover(curve["text"].iloc[-1]))
    for label in front:
        curve, look = rows[rows["label"] == label].sort_values(x, kind="stable"), looks[label]
        (line,) = axes.plot(
            curve[x], curve["value"], color=look.colour, linestyle=look.dash, zorder=3,
            marker=look.marker if dots else "",
        )  # fmt: skip
        line.set_gid(hover(curve["text"].iloc[-1]))
        if bands and curve["low"].notna().any():
            axes.fill_between(
                curve[x], curve["low"], curve["high"], color=look.colour, alpha=0.15, linewidth=0, zorder=2
            )
