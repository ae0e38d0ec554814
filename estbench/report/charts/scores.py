"""Performance profiles of the final objective, over tasks and seeds."""

import numpy as np
import pandas as pd

from estbench.report.charts.shared.share import ShareChart
from estbench.report.model.study import Study
from estbench.report.text.comparison import scores
from estbench.stats import profile

THRESHOLDS = np.linspace(0, 1, 101)


class ScoreProfiles(ShareChart):
    """The share of trainings that score more than a threshold."""

    title = "Scores"
    caption = (
        "Share of all trainings, over tasks and seeds, whose final objective scores more than a threshold (Agarwal et "
        "al. 2021); on each task 0 is the worst of the estimators' means and 1 the best. Bands are 95 % intervals at "
        "each threshold; with fewer than five seeds there are none. The best eight are in colour."
    )
    position = 150
    across = "threshold"
    labels = ("score", "share of trainings above it")

    def rows(self, study: Study, task: str) -> pd.DataFrame:  # noqa: ARG002
        """Shares by estimator and threshold, over two tasks or more."""
        found = scores(study)
        if len(found) < 2 or len(next(iter(found.values()))) < 2:
            return study.estimates.iloc[:0]
        tables = []
        for label, own in found.items():
            share, low, high = profile(own, THRESHOLDS)
            columns = {"threshold": THRESHOLDS, "value": share, "low": low, "high": high}
            tables.append(pd.DataFrame({"label": label, "text": label, **columns}))
        return pd.concat(tables, ignore_index=True)

    def curves(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The shares without changes."""
        return rows
