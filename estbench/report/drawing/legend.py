"""Legends below a figure, in as many columns as there is room for."""

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from estbench.report.drawing.style import SIZE, name
from estbench.report.model.looks import INK, Look
from estbench.report.text.widths import text_width

FEW = 12
# in units of the size of the letters, as matplotlib sets legends
_LINE, _POINT, _PAD, _SPACE, _MARGIN, _LEADING = 2.6, 1.2, 0.8, 1.2, 0.9, 1.45


def magnification(figure: Figure | SubFigure) -> tuple[float, float, float]:
    """Width and height of a figure in inches of the style "paper", and how much larger its style is."""
    scale = mpl.rcParams["font.size"] / SIZE
    return figure.bbox.width / figure.dpi / scale, figure.bbox.height / figure.dpi / scale, scale


def legend(
    figure: Figure | SubFigure,
    labels: Sequence[str],
    looks: Mapping[str, Look],
    *,
    lines: bool,
    numbered: bool = False,
) -> None:
    """Draws the legend below the figure."""
    handles = [
        Line2D(
            [], [],
            color=looks[label].colour,
            linestyle=looks[label].dash if lines else "none",
            marker="none" if lines else looks[label].marker,
        )
        for label in labels
    ]  # fmt: skip
    columns = _columns(labels, magnification(figure)[0], lines=lines)
    figure.legend(
        handles, _texts(labels, numbered=numbered), loc="outside lower left", ncols=columns, labelcolor=INK,
        fontsize=_size(labels) * magnification(figure)[2], handlelength=_LINE if lines else _POINT,
        handletextpad=_PAD, columnspacing=_SPACE, labelspacing=0.35,
    )  # fmt: skip


def legend_height(labels: Sequence[str], width: float, *, lines: bool) -> float:
    """The height in inches of the legend below a figure of this width, in the style "paper"."""
    return _LEADING * _size(labels) / 72 * math.ceil(len(labels) / _columns(labels, width, lines=lines)) + 0.1


def _texts(labels: Sequence[str], *, numbered: bool) -> list[str]:
    return [f"{i}  {name(label)}" if numbered else name(label) for i, label in enumerate(labels, 1)]


def _size(labels: Sequence[str]) -> float:
    """The size of the letters, which is smaller for many names."""
    return SIZE if len(labels) <= FEW else SIZE / 1.2


def _columns(labels: Sequence[str], width: float, *, lines: bool) -> int:
    size = _size(labels)
    # includes the numbers even if there are none, so that the height does not depend on them
    longest = max((text_width(text, size) for text in _texts(labels, numbered=not lines)), default=0.0)
    column = longest + ((_LINE if lines else _POINT) + _PAD + _SPACE) * size
    return max(1, min(len(labels), int((72 * width + (_SPACE - 2 * _MARGIN) * size) / column)))
