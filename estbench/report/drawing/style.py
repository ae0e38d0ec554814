"""The style of all figures."""

from typing import Any

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from estbench.errors import shorten
from estbench.report.model.looks import INK, Look
from estbench.report.text.formatting import power_of_ten

# the page replaces these by its own colours, light or dark
FAINT, PAPER = "#d5d8dd", "#fefefe"
STYLES = ("paper", "talk")
SIZE = 8.5  # size of letters in points, in the style "paper"
HOVER = "hover:"
_SIZES = (
    "font.size",
    "axes.titlesize",
    "axes.labelsize",
    "xtick.labelsize",
    "ytick.labelsize",
    "legend.fontsize",
    "legend.title_fontsize",
)
_INKED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
LONGEST = 34


def settings(style: str) -> dict[Any, Any]:
    """Matplotlib's settings for a style.

    Raises:
        ValueError: there is no such style.
    """
    if style not in STYLES:
        raise ValueError(f"style is one of {', '.join(STYLES)}; got {style!r}")
    size = {"paper": SIZE, "talk": 13.0}[style]
    return {
        **sns.axes_style("ticks"),
        **dict.fromkeys(_SIZES, size),
        **dict.fromkeys(_INKED, INK),
        **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), PAPER),
        "axes.titlelocation": "left",
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": FAINT,
        "grid.linewidth": 0.6,
        "lines.linewidth": size / 6,
        "lines.markersize": size / 1.6,
        "legend.frameon": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "estbench",
        "pdf.fonttype": 42,
        # names are text, also those with dollar signs
        "text.parse_math": False,
        "axes.formatter.use_mathtext": False,
        "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
    }


def logarithmic(axes: Axes, which: str) -> None:
    """Makes an axis logarithmic, with ticks that are plain text."""
    axis = {"x": axes.xaxis, "y": axes.yaxis}[which]
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = sorted(axes.get_xlim() if which == "x" else axes.get_ylim())
    if high < 8 * low:
        axis.set_major_locator(MaxNLocator(3))
    else:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 40 * low else (1.0,), numticks=5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
    axis.set_minor_locator(NullLocator())


def hover(text: str) -> str:
    """Gives an artist an identifier that the page turns into a tooltip."""
    return HOVER + text


def name(label: str, look: Look | None = None) -> str:
    """The label of an estimator, short enough for a figure; a reference is marked as such."""
    return shorten(label, LONGEST) + (" (reference)" if look and look.reference else "")
