"""Widths of texts in figures."""

import functools

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path


@functools.lru_cache(maxsize=4096)
def text_width(text: str, size: float) -> float:
    """The width of a text in the font of the layout, in the units of its size."""
    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return float(width)
