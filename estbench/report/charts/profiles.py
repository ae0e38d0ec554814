"""Performance profiles over tasks."""

import numpy as np
import pandas as pd

from estbench.report.charts.shared.share import ShareChart
from estbench.report.model.quantities import RELATIVE_BIAS, WORK
from estbench.report.model.study import Study


class Profiles(ShareChart):
    """How often an estimator is within a factor of the best."""

    title = "Performance profiles"
    caption = (
        "Share of the tasks on which an estimator's variance × time is within a factor of the smallest one "
        "(Dolan & Moré 2002). Estimators without variance and those with a bias that was found are left out, since a "
        "small variance does not make up for a bias. The best eight are in colour."
    )
    position = 140
    across = "factor"
    labels = ("factor of the best", "share of tasks")
    log = True

    def rows(self, study: Study, task: str) -> pd.DataFrame:  # noqa: ARG002
        """Shares by estimator and factor, over two tasks or more."""
        table = study.estimates[(study.estimates["quantity"] == WORK.key) & ~study.estimates["reference"]]
        biases = study.estimates[study.estimates["quantity"] == RELATIVE_BIAS.key]
        out = set(biases.loc[biases["low"] > 0, "label"])
        table = table[(table["value"] > 0) & ~table["label"].isin(out)]
        if table["task"].nunique() < 2:
            return table.iloc[:0]
        ratios = table.pivot_table(index="label", columns="task", values="value")
        ratios = ratios / ratios.min()
        factors = np.unique(np.append(np.asarray(ratios)[np.isfinite(ratios)], 1.0))
        shares = [(str(label), factor, (own <= factor).mean()) for label, own in ratios.iterrows()
                  for factor in factors]  # fmt: skip
        found = pd.DataFrame(shares, columns=["label", "factor", "value"])
        return found.assign(text=found["label"], low=np.nan, high=np.nan)

    def curves(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The shares as step functions: each share holds until the next factor."""
        before = rows.assign(value=rows.groupby("label")["value"].shift()).dropna(subset="value")
        return pd.concat([before, rows]).sort_values(["label", "factor", "value"], kind="stable")
