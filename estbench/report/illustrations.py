"""Figures that need no results."""

import abc
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from estbench.report.drawing.files import FORMATS, check_formats, encoded, written
from estbench.report.drawing.style import settings
from estbench.report.model.looks import PALETTE

_DRAWS = 50_000


class Illustration(abc.ABC):
    """A figure that illustrates a concept and shows no measurements.

    Attributes:
        title: its heading.
        caption: how to read it.
        size: width and height in inches.
    """

    title: ClassVar[str]
    caption: ClassVar[str]
    size: ClassVar[tuple[float, float]]

    @abc.abstractmethod
    def draw(self, figure: Figure) -> None:
        """Draws it."""


class GumbelSoftmaxSamples(Illustration):
    """The distribution of Gumbel-Softmax samples at several temperatures.

    After Figure 1 of Jang, Gu & Poole (2017), https://arxiv.org/abs/1611.01144. Expectations are means of 50,000
    samples; their standard errors are below 0.003.
    """

    title = "The Gumbel-Softmax distribution"
    caption = (
        "Above: the expectation of a sample; below: three samples each. At low temperatures samples are nearly "
        "one-hot, and their expectation is nearly the class probabilities; at high ones both are nearly uniform."
    )
    size = (7.2, 3.4)
    probabilities = (0.1, 0.3, 0.05, 0.4, 0.15)
    temperatures = (0.1, 0.5, 1.0, 10.0)

    def samples(self, temperature: float, count: int) -> np.ndarray:
        """Samples, ``(count, classes)``; at temperature 0 those of the categorical distribution, one-hot."""
        noise = np.random.default_rng(7).gumbel(size=(count, len(self.probabilities)))
        perturbed = np.log(self.probabilities) + noise
        if not temperature:
            return np.eye(len(self.probabilities))[perturbed.argmax(-1)]
        weights = np.exp((perturbed - perturbed.max(-1, keepdims=True)) / temperature)
        return weights / weights.sum(-1, keepdims=True)

    def draw(self, figure: Figure) -> None:
        """One column for the categorical distribution and one for each temperature."""
        columns = {"categorical": 0.0, **{f"τ = {value:g}": value for value in self.temperatures}}
        upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 1.25))[:, 0]
        above = upper.subplots(1, len(columns), sharey=True)
        below = lower.subplots(3, len(columns), sharex=True, sharey=True)
        for i, (title, temperature) in enumerate(columns.items()):
            drawn = self.samples(temperature, _DRAWS)
            mean = np.asarray(self.probabilities) if not temperature else drawn.mean(0)
            _bars(above[i], mean, PALETTE[0])
            above[i].set_title(title)
            for axes, one in zip(below[:, i], drawn, strict=False):
                _bars(axes, one, PALETTE[1])
        above[0].set_ylabel("expectation")
        lower.supylabel("samples", fontsize=mpl.rcParams["axes.labelsize"])
        lower.supxlabel("class", fontsize=mpl.rcParams["axes.labelsize"])


def _bars(axes: Axes, heights: np.ndarray, colour: str) -> None:
    classes = np.arange(1, len(heights) + 1)
    axes.bar(classes, heights, color=colour, width=0.75)
    axes.set(ylim=(0, 1.02), yticks=(0, 1), xticks=classes)
    axes.grid(visible=False, axis="x")


ILLUSTRATIONS: Mapping[str, Illustration] = {"gumbel_softmax": GumbelSoftmaxSamples()}


def illustrate(
    kind: str,
    folder: Path,
    *,
    style: str = "paper",
    width: float | None = None,
    formats: Sequence[str] = FORMATS,
    name: str = "",
) -> list[Path]:
    """Draws a figure that needs no results, and returns the files.

    Args:
        kind: one of ``ILLUSTRATIONS``.
        folder: where the files are written.
        style: ``paper`` or ``talk``.
        width: inches.
        formats: any of ``svg``, ``png``, ``pdf``.
        name: of the files, without a suffix; by default the kind.

    Raises:
        ValueError: there is no such kind, style or format.
    """
    if kind not in ILLUSTRATIONS:
        raise ValueError(f"figures that need no run are {', '.join(ILLUSTRATIONS)}; got {kind!r}")
    check_formats(formats)
    return written(_drawn(kind, style, width, tuple(formats)), folder, name or kind)


@functools.lru_cache(maxsize=4)
def _drawn(kind: str, style: str, width: float | None, formats: tuple[str, ...]) -> Mapping[str, bytes]:
    """The content of its files by format; every report of a process has the same."""
    look, found = settings(style), ILLUSTRATIONS[kind]
    scale = width / found.size[0] if width else {"paper": 1.0, "talk": 1.5}[style]
    with mpl.rc_context(look):
        figure = Figure(figsize=(found.size[0] * scale, found.size[1] * scale), layout="constrained")
        found.draw(figure)
        return encoded(figure, kind, formats)
