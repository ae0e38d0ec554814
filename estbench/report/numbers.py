"""Numbers beside points, placed so that none lies on another."""

import math

from matplotlib.axes import Axes

# a number's box and a panel, in inches, as far as one can tell before the layout is made
_BOX = (0.15, 0.12)
_PANEL = (3.8, 2.5)
_STARTS = [(math.cos(a), math.sin(a)) for a in (0.5, 2.6, -0.5, -2.6, 1.57, -1.57, 0.0, 3.14)]


def place_numbers(axes: Axes, places: list[tuple[float, float]]) -> None:
    """Numbers the points from 1; a number without room near its point is left to the legend's order."""
    fractions = [_fraction(axes, place) for place in places]
    taken = [(x - 0.05, y - 0.05, x + 0.05, y + 0.05) for x, y in fractions]
    for i, ((x, y), place) in enumerate(zip(fractions, places, strict=True), 1):
        for reach, (right, up) in ((reach, start) for reach in (0.13, 0.2, 0.27) for start in _STARTS):
            middle = x + reach * right, y + reach * up
            box = _box(middle)
            if not any(_overlap(box, other) for other in taken):
                taken.append(box)
                offset = 72 * reach * right, 72 * reach * up
                axes.annotate(str(i), place, offset, textcoords="offset points", ha="center", va="center",
                              fontsize="small")  # fmt: skip
                break


def _fraction(axes: Axes, place: tuple[float, float]) -> tuple[float, float]:
    spans = []
    for value, limits, size in zip(place, (axes.get_xlim(), axes.get_ylim()), _PANEL, strict=True):
        low, high = math.log10(limits[0]), math.log10(limits[1])
        spans.append(size * (math.log10(value) - low) / (high - low))
    return spans[0], spans[1]


def _box(middle: tuple[float, float]) -> tuple[float, float, float, float]:
    (x, y), (width, height) = middle, _BOX
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
