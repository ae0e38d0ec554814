"""Numbers beside points, placed so that none lies on another."""

import math
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from matplotlib.axes import Axes

from estbench.report.style import INK, PAPER

Point: TypeAlias = tuple[float, float]
Box: TypeAlias = tuple[float, float, float, float]

# a number's box, and how far from its point it may be, in inches of the style "paper"
_BOX = (0.15, 0.12)
_NEAR = (0.13,)
_FAR = (0.2, 0.27, 0.36, 0.46, 0.58, 0.72, 0.88, 1.06, 1.26)
_STARTS = [(math.cos(a), math.sin(a)) for a in (0.5, 2.6, -0.5, -2.6, 1.57, -1.57, 0.0, 3.14)]


def place_numbers(axes: Axes, places: list[Point], below: list[bool], panel: Point, scale: float) -> None:
    """Numbers the points from 1: near them where there is room, else further off, at the end of a line.

    Args:
        axes: with logarithmic axes.
        places: of the points.
        below: whether an arrow points down from each.
        panel: width and height of the axes, as far as one can tell before the layout is made.
        scale: how much larger than in the style "paper" everything is.
    """
    points = [_inches(axes, place, panel) for place in places]
    taken = _Taken([(x - 0.05, y - (0.25 if arrow else 0.05), x + 0.05, y + 0.05)
                    for (x, y), arrow in zip(points, below, strict=True)], [], [])  # fmt: skip
    for i, (at, place) in enumerate(zip(points, places, strict=True), 1):
        offset, far = _offset(at, taken, panel)
        taken.numbers.append(_box(at, offset))
        taken.lines.extend([_line(at, offset)] if far else [])
        axes.annotate(
            str(i), place, (72 * scale * offset[0], 72 * scale * offset[1]), textcoords="offset points",
            ha="center", va="center", fontsize="small",
            bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.7, "pad": 0.3},
            arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": INK, "shrinkA": 0, "shrinkB": 2} if far else None,
        )  # fmt: skip


class _Taken(NamedTuple):
    """What a number must not lie on, nor its line lead through."""

    points: list[Box]
    numbers: list[Box]
    lines: list[list[Point]]


def _offset(at: Point, taken: _Taken, panel: Point) -> tuple[Point, bool]:
    """Where a number goes, and whether it is far enough for a line; rather through a number than nowhere."""
    free = list(_free(at, taken, panel))
    clear = (pair for pair in free if not pair[1] or not _through(_line(at, pair[0]), taken.numbers))
    return next(clear, free[0] if free else ((0.0, 0.0), False))


def _free(at: Point, taken: _Taken, panel: Point) -> Iterator[tuple[Point, bool]]:
    """Offsets at which a number lies on nothing, the nearest first; whether it is far enough for a line."""
    for reach in (*_NEAR, *_FAR):
        for right, up in _STARTS:
            offset = (reach * right, reach * up)
            box = _box(at, offset)
            inside = box[0] >= -0.1 and box[2] <= panel[0] + 0.1 and box[1] >= -0.1 and box[3] <= panel[1] + 0.1
            crossed = any(_through(line, [box]) for line in taken.lines)
            if (inside or reach in _NEAR) and not crossed and not any(_overlap(box, o) for o in taken[0] + taken[1]):
                yield offset, reach not in _NEAR


def _line(at: Point, offset: Point) -> list[Point]:
    """Points along the line from a point to its number."""
    return [(at[0] + offset[0] * i / 24, at[1] + offset[1] * i / 24) for i in range(25)]


def _through(line: list[Point], boxes: list[Box]) -> bool:
    return any(b[0] < x < b[2] and b[1] < y < b[3] for b in boxes for x, y in line)


def _inches(axes: Axes, place: Point, panel: Point) -> Point:
    spans = []
    for value, limits, size in zip(place, (axes.get_xlim(), axes.get_ylim()), panel, strict=True):
        low, high = math.log10(limits[0]), math.log10(limits[1])
        spans.append(size * (math.log10(value) - low) / (high - low))
    return spans[0], spans[1]


def _box(at: Point, offset: Point) -> Box:
    (x, y), (right, up), (width, height) = at, offset, _BOX
    return x + right - width / 2, y + up - height / 2, x + right + width / 2, y + up + height / 2


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
