"""Which estimators are not told apart."""

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure, SubFigure

from estbench.report.charts.base import LINE, Chart, point, titled
from estbench.report.drawing.style import name
from estbench.report.model.looks import INK
from estbench.report.model.significance import Paired
from estbench.report.model.study import Study
from estbench.report.text.tables import exact
from estbench.stats import SIGNIFICANCE


class Ties(Chart):
    """Estimators by their final objective, with bars over those that are not told apart."""

    title = "Ties"
    caption = (
        "The final objective, best first, with Student's 95 % interval over seeds. A bar on the right joins "
        "estimators of which no two were told apart (paired tests over seeds, 5 %, corrected by Holm)."
    )
    position = 80

    def rows(self, study: Study, task: str) -> pd.DataFrame:
        """The last objective on test data with the group of ties that begins at each row; where tested."""
        quantity = study.objective(task)
        if quantity is None:
            return study.estimates.iloc[:0]
        column = study.contestants(task, quantity.key).reset_index()
        column = column[column["value"].notna()]
        if not column["tied"].any():
            return column.iloc[:0]
        column = column.sort_values("value", ascending=quantity.better == "lower", kind="stable")
        return column.assign(until=_groups(list(column["label"]), study.paired(task, quantity.key)))

    def height(self, rows: pd.DataFrame, width: float) -> float:  # noqa: ARG002
        """A line an estimator."""
        return 0.9 + LINE * len(rows)

    def draw(self, figure: Figure | SubFigure, rows: pd.DataFrame, study: Study) -> None:
        """One panel with bars beside it."""
        axes = figure.subplots()
        quantity = study.quantity(rows["quantity"].iloc[0])
        for line, (_, row) in enumerate(rows.iterrows()):
            look = study.looks[row["label"]]
            point(axes, (row["value"], line), look, f"{row['label']}: {exact(quantity, row)}")
        colours = [study.looks[label].colour for label in rows["label"]]
        axes.hlines(range(len(rows)), rows["low"], rows["high"], colors=colours, linewidth=2.2, alpha=0.55)
        bars = [(start, end) for start, end in enumerate(rows["until"]) if end > start]
        for place, (start, end) in zip(itertools.cycle((1.02, 1.05, 1.08, 1.11)), bars, strict=False):
            axes.plot([place] * 2, [start - 0.25, end + 0.25], color=INK, linewidth=2.5, clip_on=False,
                      transform=axes.get_yaxis_transform(), solid_capstyle="butt")  # fmt: skip
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_yticks(range(len(rows)), [name(label) for label in rows["label"]])
        axes.tick_params("y", length=0)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(quantity.title)
        titled(figure, rows["task"].iloc[0])


def _groups(labels: list[str], paired: Paired) -> list[int]:
    """For each line, the last line of the longest bar that begins there; none within a bar already drawn."""
    # a pair that could not be tested is not told apart
    apart = np.array([[paired.p(one, other) < SIGNIFICANCE for other in labels] for one in labels])
    until, reached = [], 0
    for start in range(len(labels)):
        end = start
        while end + 1 < len(labels) and not apart[start : end + 1, end + 1].any():
            end += 1
        until.append(end if end > reached else start)
        reached = max(reached, end)
    return until
