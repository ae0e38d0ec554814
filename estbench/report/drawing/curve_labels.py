"""Names beside a panel, each at the height where its curve ends."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.optimize import isotonic_regression

from estbench.report.drawing.legend import magnification
from estbench.report.drawing.style import FAINT, name
from estbench.report.model.looks import INK, Look

# height of a line and of the space around a panel in inches, and size of the letters relative to those of the figure
LINE, AROUND, _SMALL = 0.125, 0.85, 0.8
_OUT, _AWAY = 1.01, 1.08
_BEHIND = "#5f6672"


def ends_height(labels: Sequence[str]) -> float:
    """The height in inches that a figure with this number of names needs, in the style "paper"."""
    return LINE * len(labels) + AROUND


def spread(places: Sequence[float], gap: float) -> list[float]:
    """The places in [0, 1] nearest to ascending places that are a gap apart; evenly spaced if the gap is too wide."""
    count = len(places)
    gap = min(gap, 1 / max(count - 1, 1))
    shifts = gap * np.arange(count)
    kept = isotonic_regression(np.asarray(places) - shifts).x
    return [float(place) for place in np.clip(kept, 0.0, 1.0 - gap * (count - 1)) + shifts]


def name_ends(axes: Axes, rows: pd.DataFrame, x: str, front: Sequence[str], looks: Mapping[str, Look]) -> None:
    """Draws the names of all curves on a logarithmic axis, whose limits must be set; the leaders are in colour."""
    ends = rows.sort_values(x, kind="stable").groupby("label").tail(1).sort_values("value", kind="stable")
    low, high = np.log(axes.get_ylim())
    places = (np.log(ends["value"].to_numpy()) - low) / (high - low)
    texts = spread(places, LINE / (magnification(axes.figure)[1] - AROUND))
    for label, place, text in zip(ends["label"], places, texts, strict=True):
        leads = label in front
        axes.annotate(
            name(label), (_OUT, place), (_AWAY, text), "axes fraction", "axes fraction",
            color=INK if leads else _BEHIND, fontsize=_SMALL * mpl.rcParams["font.size"], verticalalignment="center",
            arrowprops={
                "arrowstyle": "-", "color": looks[label].colour if leads else FAINT, "linewidth": 0.8,
                "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5),
            },
        )  # fmt: skip
