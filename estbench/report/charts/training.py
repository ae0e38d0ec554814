"""The objective against training steps and against seconds."""

import pandas as pd
from matplotlib.figure import Figure, SubFigure

from estbench.report.charts.base import Chart, titled
from estbench.report.drawing.curves import curves, leaders
from estbench.report.drawing.legend import legend, legend_height
from estbench.report.model.intervals import student
from estbench.report.model.quantities import TRAINING
from estbench.report.model.rows import measured, shares
from estbench.report.model.study import Study
from estbench.report.text.formatting import number


class TrainingChart(Chart):
    """Curves of the objective with bands over seeds."""

    title = "TrainingChart"
    caption = (
        "The objective against training steps and against seconds of training without evaluation: the mean over seeds, "
        "with Student's 95 % band if there are several. If there are many estimators, the best eight are in colour. "
        "The axis shows the range after the first tenth of training; curves outside it are cut off."
    )
    position = 70

    def rows(self, study: Study, task: str) -> pd.DataFrame:
        """Means and bands of one objective by estimator and step, on validation data if there are any."""
        rows = measured(study.rows, TRAINING)
        rows = rows[rows["task"] == task]
        for split in ("_valid", "_train", "_test"):
            metrics = sorted(metric for metric in rows["metric"].unique() if metric.endswith(split))
            if metrics:
                # a multi-sample bound is evaluated at the end only
                steps = rows.groupby("metric")["step"].nunique()
                metric = str(steps[metrics].idxmax())
                found = _curves(rows[rows["metric"] == metric])
                return found.assign(better=study.metrics.find(TRAINING, metric).better)
        return rows.iloc[:0]

    def height(self, rows: pd.DataFrame, width: float) -> float:
        """Two panels and a legend."""
        return 4.6 + legend_height(_leaders(rows), width, lines=True)

    def draw(self, figure: Figure | SubFigure, rows: pd.DataFrame, study: Study) -> None:
        """Two panels, one above the other."""
        above, below = figure.subplots(2, 1)
        front = _leaders(rows)
        for axes, x in ((above, "step"), (below, "seconds")):
            curves(axes, rows, x, front, study.looks)
            axes.set_ylim(*_range(rows))
            axes.set_ylabel(study.metrics.find(TRAINING, rows["metric"].iloc[0]).title)
        above.set_xlabel("training steps")
        told = shares(study.rows[study.rows["task"] == rows["task"].iloc[0]])
        below.set_xlabel(f"seconds of training{told and ': '}{told}")
        titled(figure, study.display[rows["task"].iloc[0]], rows["task"].iloc[0])
        legend(figure, front, study.looks, lines=True)


def _curves(rows: pd.DataFrame) -> pd.DataFrame:
    found = student(rows, ["task", "label", "metric", "step"])
    ends = found.groupby("label")["step"].transform("max") == found["step"]
    last = found[ends].set_index("label")
    texts = {label: f"{label}: {number(end['value'], 5)} after {end['step']:.0f} steps"
             for label, end in last.iterrows()}  # fmt: skip
    return found.assign(text=found["label"].map(texts))


def _leaders(rows: pd.DataFrame) -> list[str]:
    return leaders(rows, "step", ascending=rows["better"].iloc[0] == "lower")


def _range(rows: pd.DataFrame) -> tuple[float, float]:
    """The range after the first tenth without the worst few, so that a diverging curve does not flatten the others."""
    later = rows[rows["step"] >= rows["step"].max() / 10]["value"]
    low, high = float(later.quantile(0.02)), float(later.quantile(0.98))
    margin = (high - low) / 10 or max(abs(high), 1.0) / 100
    return low - margin, high + margin
