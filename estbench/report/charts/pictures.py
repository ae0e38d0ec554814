"""Pictures that tasks make with the trained models."""

import base64
import binascii
import io
import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import imread

from estbench.errors import shorten
from estbench.report.charts.base import WIDTH, Chart
from estbench.report.drawing.style import hover, name
from estbench.report.model.study import Study

PREFIX = "picture/"
# no measure makes pictures that are larger than this
_MOST = 4096
COLUMNS, SIDES = 2, ("left", "right")
_INCHES = WIDTH / COLUMNS - 0.2


class Pictures(Chart):
    """Pictures from the model that each estimator trained, for the first seed."""

    title = "Pictures"
    caption = (
        "Pictures from the models at the end of training, for the same test examples for all estimators; dark pixels "
        "are 1. The pictures are those of the first seed."
    )
    position = 130

    def rows(self, study: Study, task: str) -> pd.DataFrame:
        """The pictures of a task that can be read, with their pixels."""
        rows = study.rows[(study.rows["task"] == task) & (study.rows["picture"] != "")]
        rows = rows[rows["metric"].str.startswith(PREFIX)]
        first = rows.groupby("label")["seed"].transform("first") if len(rows) else rows["seed"]
        rows = rows[rows["seed"] == first].copy()
        rows["kind"] = rows["metric"].str.removeprefix(PREFIX)
        rows["pixels"] = pd.Series([_pixels(text) for text in rows["picture"]], rows.index, object)
        return rows[rows["pixels"].notna()].drop_duplicates(["label", "kind"])

    def height(self, rows: pd.DataFrame, width: float) -> float:  # noqa: ARG002
        """The lines of pictures with a name above each, and a title on top."""
        return sum(_heights(rows)) + 0.17 * rows["kind"].nunique()

    def draw(self, figure: Figure | SubFigure, rows: pd.DataFrame, study: Study) -> None:  # noqa: ARG002
        """Kinds of pictures side by side; if there is one kind, two estimators side by side."""
        heights, places = _heights(rows), _places(rows)
        grid = figure.subplots(len(heights), COLUMNS, squeeze=False, gridspec_kw={"height_ratios": heights})
        for axes in grid.flat:
            axes.set_axis_off()
            axes.set_anchor("NW")
        for place, (_, row) in zip(places, rows.iterrows(), strict=True):
            picture = grid[place].imshow(row["pixels"], cmap="gray", vmin=0, vmax=1, interpolation="none")
            picture.set_gid(hover(f"{row['label']}: {row['kind']}, after {row['step']:.0f} steps, seed {row['seed']}"))
            grid[place].set_title(name(row["label"]), loc="left", fontsize="medium")
        kinds = list(dict.fromkeys(rows["kind"]))
        above = kinds if len(kinds) == 1 else [f"{SIDES[i % 2]}: {kind}" for i, kind in enumerate(kinds)]
        figure.suptitle("\n".join(shorten(kind, 70) for kind in above), x=0.01, ha="left", fontsize="small")


def _places(rows: pd.DataFrame) -> list[tuple[int, int]]:
    """The line and the column of each picture."""
    labels, kinds = list(dict.fromkeys(rows["label"])), list(dict.fromkeys(rows["kind"]))
    lines = math.ceil(len(kinds) / COLUMNS)
    if len(kinds) == 1:
        return [divmod(i, COLUMNS) for i in range(len(rows))]
    each = zip(map(labels.index, rows["label"]), map(kinds.index, rows["kind"]), strict=True)
    return [(lines * label + kind // COLUMNS, kind % COLUMNS) for label, kind in each]


def _heights(rows: pd.DataFrame) -> list[float]:
    """The height of each line in inches: that of its tallest picture and of the name above."""
    ratios = pd.Series([pixels.shape[0] / pixels.shape[1] for pixels in rows["pixels"]])
    return list(_INCHES * ratios.groupby([line for line, _ in _places(rows)]).max() + 0.3)


def _pixels(text: str) -> "np.ndarray | None":
    """The brightness of the pixels of a PNG in base64; None if the text is no such image."""
    try:
        content = base64.b64decode(text, validate=True)
        width, height = (int.from_bytes(content[start : start + 4]) for start in (16, 20))
        if not (0 < width <= _MOST and 0 < height <= _MOST):
            return None
        pixels = imread(io.BytesIO(content), format="png")
    except (binascii.Error, ValueError, OSError, SyntaxError):
        return None
    grey = pixels if pixels.ndim == 2 else pixels[..., :3].mean(-1)
    return grey if math.isfinite(float(grey.sum())) else None
