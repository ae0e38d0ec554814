"""How figures look: one style, and one look for each estimator in all of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from estbench.errors import shorten
from estbench.report.text.formatting import power_of_ten

# Okabe & Ito's palette without black and yellow: told apart with every kind of colour vision
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = (
    "-",
    (0, (4, 1.5)),
    (0, (1, 1)),
    (0, (5, 1, 1, 1)),
    (0, (8, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (1, 3)),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
# the page replaces these by its own colours, light or dark
INK, FAINT, PAPER = "#1f2329", "#d5d8dd", "#fefefe"
STYLES = ("paper", "talk")
SIZE = 8.5  # of letters, in points, in the style "paper"
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


@dataclass(frozen=True)
class Look:
    """An estimator's colour, dash and marker; no two estimators share all three. A reference's is ink."""

    colour: str
    dash: Any
    marker: str
    filled: bool
    reference: bool = False


def looks(
    labels: Sequence[str], families: Mapping[str, str], references: Collection[str] = frozenset()
) -> dict[str, Look]:
    """A look for each estimator; the marker is its family's, where ``families`` (by label) knows it.

    References are drawn in ink, and take no colour from the others.
    """
    oracles = {
        label: Look(INK, DASHES[(1 + i) % len(DASHES)], MARKERS[i % len(MARKERS)], filled=False, reference=True)
        for i, label in enumerate(each for each in labels if each in references)
    }
    labels = [label for label in labels if label not in oracles]
    kinds = sorted(set(families.values()))
    chosen = {}
    for i, label in enumerate(labels):
        turn = i // len(PALETTE)
        marker = kinds.index(families[label]) if label in families else turn
        chosen[label] = Look(
            PALETTE[i % len(PALETTE)],
            DASHES[turn % len(DASHES)],
            MARKERS[marker % len(MARKERS)],
            turn % 2 == 0,
        )
    return chosen | oracles


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
    """An artist's identifier that the page turns into a tooltip."""
    return HOVER + text


def name(label: str, look: Look | None = None) -> str:
    """A label short enough for a figure, which says of a reference that it is one."""
    return shorten(label, LONGEST) + (" (reference)" if look and look.reference else "")
