"""Numbers beside points, placed so that they do not overlap."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes

from estbench.report.drawing.style import PAPER
from estbench.report.model.looks import INK

Position: TypeAlias = tuple[float, float]
Array: TypeAlias = np.ndarray

# half a number's box, and how far from its point it may be, in inches of the style "paper"
_HALF = np.array([0.075, 0.06])
_NEAR = 0.13
_REACHES = (_NEAR, 0.2, 0.27, 0.36, 0.46, 0.58, 0.72, 0.88, 1.06, 1.26)
_ANGLES = 0.5 + 2 * np.pi * np.arange(24) / 24
_OFFSETS = np.concatenate([reach * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], -1) for reach in _REACHES])
_FAR = np.repeat(_REACHES, len(_ANGLES)) > _NEAR
_ALONG = np.linspace(0, 1, 33)[:, None]
_SWEEPS = 6


def place_numbers(axes: Axes, places: list[Position], below: list[bool], panel: Position, scale: float) -> None:
    """Numbers the points from 1. A number is near its point if there is room, otherwise at the end of a line.

    Args:
        axes: the axes, which are logarithmic.
        places: places of the points.
        below: whether an arrow points down from each.
        panel: estimated width and height of the axes, before the layout is made.
        scale: ratio of all sizes to those in the style "paper".
    """
    points = np.array([_inches(axes, place, panel) for place in places])
    for i, (place, best) in enumerate(zip(places, _best(points, np.array(below), np.array(panel)), strict=True), 1):
        line = {"arrowstyle": "-", "linewidth": 0.5, "color": INK, "shrinkA": 0, "shrinkB": 2}
        axes.annotate(
            str(i), place, 72 * scale * _OFFSETS[best], textcoords="offset points", ha="center", va="center",
            fontsize="small", bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.7, "pad": 0.3},
            arrowprops=line if _FAR[best] else None,
        )  # fmt: skip


def _best(points: Array, below: Array, panel: Array) -> list[int]:
    """The offset of each number, by its place in the list of offsets."""
    markers = np.stack([points - 0.05, points + 0.05], 1)
    markers[below, 0, 1] -= 0.2
    middle = points.mean(0)
    # from the middle of a cluster outwards, and then again, since all other places are only known after the first pass
    order = sorted(range(len(points)), key=lambda i: math.dist(points[i], middle))
    chosen: dict[int, int] = {}
    sweeps = []
    for _ in range(_SWEEPS):
        for i in order:
            chosen[i] = _others(points, markers, chosen, i).first_free(points[i], panel)
        found = [chosen[i] for i in range(len(points))]
        crossed = sum(_others(points, markers, chosen, i).through(points[i], best) for i, best in enumerate(found))
        sweeps.append((crossed, found))
        if not crossed:
            break
    return min(sweeps)[1]


def _others(points: Array, markers: Array, chosen: Mapping[int, int], one: int) -> "_Taken":
    """The space that all numbers but one take."""
    others = {j: best for j, best in chosen.items() if j != one}
    centres = np.array([points[j] + _OFFSETS[best] for j, best in others.items()]).reshape(-1, 2)
    far = [_line(points[j], _OFFSETS[best]) for j, best in others.items() if _FAR[best]]
    return _Taken(markers, np.stack([centres - _HALF, centres + _HALF], 1), np.array(far).reshape(-1, 2))


@dataclass(frozen=True)
class _Taken:
    """The space that is taken: boxes, ``(count, 2 corners, 2)``, and points along lines, ``(count, 2)``."""

    markers: Array
    numbers: Array
    lines: Array

    def first_free(self, at: Array, panel: Array) -> int:
        """The nearest offset at which nothing is covered; if there is none, its line may lead through a number."""
        boxes = np.stack([at + _OFFSETS - _HALF, at + _OFFSETS + _HALF], 1)
        inside = (boxes[:, 0] >= -0.1).all(-1) & (boxes[:, 1] <= panel + 0.1).all(-1)
        free = np.flatnonzero((inside | ~_FAR) & ~_overlap(boxes, self.markers) & ~_overlap(boxes, self.numbers))
        free = free[~_within(self.lines[None], boxes[free, None]).any(-1)]
        clear = (i for i in free.tolist() if not self.through(at, i))
        return int(next(clear, free[0] if len(free) else 0))

    def through(self, at: Array, best: int) -> bool:
        """Whether the line to an offset leads through a number."""
        return bool(_FAR[best] and _within(_line(at, _OFFSETS[best])[None], self.numbers[:, None]).any())


def _line(at: Array, offset: Array) -> Array:
    """Points along the line from a point to its number."""
    return np.asarray(at + _ALONG * offset)


def _overlap(boxes: Array, others: Array) -> Array:
    """Which boxes overlap with any of the others."""
    apart = (boxes[:, None, 0] >= others[None, :, 1]) | (others[None, :, 0] >= boxes[:, None, 1])
    return np.asarray((~apart.any(-1)).any(-1))


def _within(points: Array, boxes: Array) -> Array:
    """Whether points lie in boxes, ``(..., 2 corners, 2)``."""
    return np.asarray(((points > boxes[..., 0, :]) & (points < boxes[..., 1, :])).all(-1))


def _inches(axes: Axes, place: Position, panel: Position) -> Position:
    spans = []
    for value, limits, size in zip(place, (axes.get_xlim(), axes.get_ylim()), panel, strict=True):
        low, high = math.log10(limits[0]), math.log10(limits[1])
        spans.append(size * (math.log10(value) - low) / (high - low))
    return spans[0], spans[1]
