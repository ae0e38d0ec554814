"""Time of a step against the number of classes."""

import math
import re

import pandas as pd
from matplotlib.figure import Figure, SubFigure

from estbench.report.charts.base import Chart, titled
from estbench.report.drawing.curves import curves, leaders
from estbench.report.drawing.legend import legend, legend_height
from estbench.report.drawing.style import logarithmic
from estbench.report.model.quantities import STEP_TIME
from estbench.report.model.study import Study
from estbench.report.text.tables import exact

_CLASSES = re.compile(r"(?<=[\[,])classes=(\d+),?")


class Classes(Chart):
    """Milliseconds of a training step against the number of classes, for tasks that differ in nothing else."""

    title = "Time against classes"
    caption = "Median time of a training step against the task's number of classes, with 95 % intervals."
    position = 100
    across_tasks = True

    def rows(self, study: Study, task: str) -> pd.DataFrame:  # noqa: ARG002
        """Times by estimator and number of classes, for the group of tasks with the most numbers of classes."""
        times = study.estimates[study.estimates["quantity"] == STEP_TIME.key]
        found = times.assign(
            classes=[_classes(task) for task in times["task"]],
            family=[_CLASSES.sub("", task) for task in times["task"]],
        ).dropna(subset="classes")
        counts = found.groupby("family")["classes"].nunique()
        if counts.empty or counts.max() < 2:
            return found.iloc[:0]
        found = found[found["family"] == counts.idxmax()]
        texts = [f"{row['label']}, {row['classes']:.0f} classes: {exact(STEP_TIME, row)}"
                 for _, row in found.iterrows()]  # fmt: skip
        milliseconds = {key: found[key] * 1e3 for key in ("value", "low", "high")}
        return found.assign(text=texts, **milliseconds)

    def height(self, rows: pd.DataFrame, width: float) -> float:
        """A panel and a legend."""
        return 2.8 + legend_height(leaders(rows, "classes", ascending=True), width, lines=True)

    def draw(self, figure: Figure | SubFigure, rows: pd.DataFrame, study: Study) -> None:
        """One panel."""
        axes = figure.subplots()
        front = leaders(rows, "classes", ascending=True)
        curves(axes, rows, "classes", front, study.looks, dots=True)
        for which in ("x", "y"):
            logarithmic(axes, which)
        axes.set(xlabel="classes", ylabel="ms per step")
        titled(figure, rows["family"].iloc[0])
        legend(figure, front, study.looks, lines=True)


def _classes(task: str) -> float:
    found = _CLASSES.search(task)
    return float(found[1]) if found else math.nan
