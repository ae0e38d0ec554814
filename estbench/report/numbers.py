"""Numbers beside points, placed so that none lies on another."""

import math
from collections.abc import Iterator
from typing import TypeAlias

from matplotlib.axes import Axes

from estbench.report.style import INK, PAPER

Point: TypeAlias = tuple[float, float]
Box: TypeAlias = tuple[float, float, float, float]

# a number's box and a panel, in inches, as far as one can tell before the layout is made
_BOX = (0.15, 0.12)
_PANEL = (3.8, 2.5)
_NEAR = (0.13,)
_FAR = (0.2, 0.27, 0.36, 0.46, 0.58, 0.72, 0.88, 1.06, 1.26)
_STARTS = [(math.cos(a), math.sin(a)) for a in (0.5, 2.6, -0.5, -2.6, 1.57, -1.57, 0.0, 3.14)]


def place_numbers(axes: Axes, places: list[Point], below: list[bool]) -> None:
    """Numbers the points from 1: near them where there is room, else further off, at the end of a line.

    Args:
        axes: with logarithmic axes.
        places: of the points.
        below: whether an arrow points down from each.
    """
    fractions = [_fraction(axes, place) for place in places]
    taken = [(x - 0.05, y - (0.25 if arrow else 0.05), x + 0.05, y + 0.05)
             for (x, y), arrow in zip(fractions, below, strict=True)]  # fmt: skip
    for i, (at, place) in enumerate(zip(fractions, places, strict=True), 1):
        offset, far = next(_free(at, taken), ((0.0, 0.0), False))
        taken.append(_box(at, offset))
        axes.annotate(
            str(i), place, (72 * offset[0], 72 * offset[1]), textcoords="offset points", ha="center", va="center",
            fontsize="small", bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.7, "pad": 0.3},
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": INK, "shrinkA": 0, "shrinkB": 2} if far else None,
        )  # fmt: skip


def _free(at: Point, taken: list[Box]) -> Iterator[tuple[Point, bool]]:
    """Offsets at which a number lies on nothing, the nearest first; whether it is far enough for a line."""
    for reach in (*_NEAR, *_FAR):
        for right, up in _STARTS:
            offset = (reach * right, reach * up)
            box = _box(at, offset)
            inside = box[0] >= -0.1 and box[2] <= _PANEL[0] + 0.1 and box[1] >= -0.1 and box[3] <= _PANEL[1] + 0.1
            if (inside or reach in _NEAR) and not any(_overlap(box, other) for other in taken):
                yield offset, reach not in _NEAR


def _fraction(axes: Axes, place: Point) -> Point:
    spans = []
    for value, limits, size in zip(place, (axes.get_xlim(), axes.get_ylim()), _PANEL, strict=True):
        low, high = math.log10(limits[0]), math.log10(limits[1])
        spans.append(size * (math.log10(value) - low) / (high - low))
    return spans[0], spans[1]


def _box(at: Point, offset: Point) -> Box:
    (x, y), (right, up), (width, height) = at, offset, _BOX
    return x + right - width / 2, y + up - height / 2, x + right + width / 2, y + up + height / 2


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
