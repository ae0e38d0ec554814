"""Published values against measured ones."""

import math
import re
from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from estbench.errors import shorten
from estbench.report.charts.base import LINE, Chart, point, titled
from estbench.report.drawing.style import PAPER, name
from estbench.report.model.looks import INK, Look
from estbench.report.model.published_match import Match, PublishedModel, matches
from estbench.report.model.study import Study
from estbench.report.text.formatting import number

# number of letters in the title of a panel that shares the width with the names of estimators
WIDEST = 34


class PublishedChart(Chart):
    """Measured values with their intervals against published ones, with one panel for each published table."""

    title = "Published against measured"
    caption = (
        "A vertical mark is a published value, a point the measured one of the same estimator with its 95 % interval "
        "over seeds, both in the paper's scale. Hollow points: the protocols differ, or a part of them is not "
        "recorded, so the distance is no error of either; the table names the parts."
    )
    position = 120

    def rows(self, study: Study, task: str) -> pd.DataFrame:
        """One row for each pair of a published and a measured value of the same estimator."""
        pairs = [
            {
                "task": task, "panel": i, "title": f"{_short(group.first.paper)}, {group.first.table}",
                "setting": group.first.setting, "metric": group.first.metric_published, "label": pair.label,
                "line": _line(group, pair),
                "published": pair.result.value, "printed": pair.result.printed, "value": pair.value, "low": pair.low,
                "high": pair.high, "comparable": pair.comparable,
            }
            for i, group in enumerate(matches(study, task).groups)
            for pair in group.pairs
        ]  # fmt: skip
        return pd.DataFrame(pairs)

    def height(self, rows: pd.DataFrame, width: float) -> float:  # noqa: ARG002
        """One line per estimator, and room for the title and the axis of each panel."""
        return LINE * len(rows) + 1.0 * rows["panel"].nunique() + 0.5

    def draw(self, figure: Figure | SubFigure, rows: pd.DataFrame, study: Study) -> None:
        """One panel for each published table."""
        panels = [own for _, own in rows.groupby("panel")]
        ratios = [LINE * len(own) + 0.5 for own in panels]
        axes = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": ratios})
        for each, own in zip(axes[:, 0], panels, strict=True):
            _panel(each, own, study.looks)
        titled(figure, study.display[rows["task"].iloc[0]], rows["task"].iloc[0])
        mark = Line2D([], [], color=INK, marker="|", linestyle="none", markersize=9, markeredgewidth=1.6)
        dots = [Line2D([], [], color=INK, marker="o", linestyle="none", markerfacecolor=face) for face in (INK, PAPER)]
        texts = ["published", "measured, same protocol", "measured, another protocol"]
        shown = [True, rows["comparable"].any(), not rows["comparable"].all()]
        kept = [i for i in range(3) if shown[i]]
        handles = [[mark, *dots][i] for i in kept]
        figure.legend(handles, [texts[i] for i in kept], loc="outside lower left", labelcolor=INK)


def _short(paper: str) -> str:
    """The first author and the year."""
    return re.sub(r",.* \(", " et al. (", paper)


def _line(group: PublishedModel, pair: Match) -> str:
    """An estimator, with its name in the paper if it has several values in the table."""
    several = sum(other.label == pair.label for other in group.pairs) > 1
    return f"{pair.label}: {pair.result.estimator_published}" if several else pair.label


def _panel(axes: Axes, rows: pd.DataFrame, looks: Mapping[str, Look]) -> None:
    for line, (_, row) in enumerate(rows.iterrows()):
        look, text = looks[row["label"]], f"{row['label']}: measured {number(row['value'], 5)}"
        if not math.isnan(row["low"]):
            text += f" ({number(row['low'], 5)} to {number(row['high'], 5)})"
            axes.hlines(line, row["low"], row["high"], colors=look.colour, linewidth=2.2, alpha=0.55)
        text += f", published {row['printed']}" + ("" if row["comparable"] else ", another protocol")
        axes.plot(row["published"], line, "|", color=INK, markersize=11, markeredgewidth=1.6)
        point(axes, (row["value"], line), look, text, hollow=not row["comparable"])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [name(line) for line in rows["line"]])
    axes.tick_params("y", length=0)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.08)
    first = rows.iloc[0]
    axes.locator_params("x", nbins=4)
    lines = [shorten(first[key], WIDEST) for key in ("title", "setting")]
    axes.set_title("\n".join(lines), loc="left", fontsize="medium")
    axes.set_xlabel(shorten(first["metric"], WIDEST))
