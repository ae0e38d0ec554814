"""Which differences are real: tests of each estimator against the best, corrected over the table's column."""

import math

import numpy as np
import pandas as pd
from scipy import stats

from estbench.report.intervals import log_error
from estbench.report.quantities import BIASES, Quantity, final, quantities
from estbench.stats import SIGNIFICANCE, holm


def mark(estimates: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Adds ``p`` (against the best, Holm over the column), ``best`` and ``tied`` (the best among them).

    Where nothing could be tested, nothing is marked: one seed, or figures without intervals.
    """
    known = {quantity.key: quantity for quantity in quantities(estimates)}
    finals = final(rows)
    marked = estimates.assign(p=math.nan, best=False, tied=False)
    for (task, key), column in marked.groupby(["task", "quantity"], sort=False):
        quantity = known[str(key)]
        usable = column[column["value"].notna()]
        if not quantity.better or len(usable) < 2:
            continue
        runs = finals[(finals["task"] == task) & (finals["quantity"] == key)]
        judged = _judge(usable, quantity, runs)
        marked.loc[judged.index, ["p", "best", "tied"]] = judged
    return marked.astype({"best": bool, "tied": bool})


def _judge(column: pd.DataFrame, quantity: Quantity, runs: pd.DataFrame) -> pd.DataFrame:
    values = column["value"] if quantity.better == "lower" else -column["value"]
    best = int(np.argmin(values))
    if quantity.measure == "training":
        paired = differences(runs, str(column["label"].iloc[best]))
        p = [paired_test(paired[label]) for label in column["label"]]
    elif quantity.key in BIASES and (column["low"] <= 0).any():
        # where no bias was found, the least that could be there is what was ruled out best
        none = column["low"] <= 0
        first = column["high"] == column["high"][none].min()
        return pd.DataFrame({"p": math.nan, "best": none & first, "tied": none})
    else:
        p = _by_intervals(column, column.iloc[best])
    others = np.arange(len(column)) != best
    # the best against itself is no test
    adjusted = pd.Series(holm(np.where(others, p, math.nan)), column.index)
    tied = (adjusted >= SIGNIFICANCE) | ~others
    tested = bool(adjusted.notna().any())
    return pd.DataFrame({"p": adjusted, "best": ~others & tested, "tied": tied & tested})


def _by_intervals(column: pd.DataFrame, best: pd.Series) -> list[float]:
    """Two-sided p-values of independent figures, from their intervals."""
    return [compare(row, best) for _, row in column.iterrows()]


def compare(one: pd.Series, other: pd.Series) -> float:
    """The p-value of "no difference" between two measured figures; by their ratio where both are positive."""
    if one["value"] == other["value"]:
        return 1.0
    a, b = (tuple(float(row[key]) for key in ("value", "low", "high")) for row in (one, other))
    errors = log_error(*a), log_error(*b)
    if all(math.isfinite(error) for error in errors):
        distance = math.log(a[0]) - math.log(b[0])
    else:
        errors = (a[2] - a[1]) / 3.92, (b[2] - b[1]) / 3.92
        distance = a[0] - b[0]
    error = math.hypot(*errors)
    # figures without any error, such as bytes, differ if they are not the same
    return 0.0 if error == 0 else float(2 * stats.norm.sf(abs(distance) / error))


def differences(runs: pd.DataFrame, best: str) -> dict[str, np.ndarray]:
    """Final objectives of each estimator less those of the best, seed by seed."""
    table = runs.pivot_table(index="seed", columns="label", values="value")
    return {str(label): np.asarray((values - table[best]).dropna()) for label, values in table.items()}


def paired_test(difference: np.ndarray) -> float:
    """The p-value of Student's paired test; NaN for fewer than two pairs."""
    if len(difference) < 2:
        return math.nan
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
    mean = float(difference.mean())
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stats.t.sf(abs(mean) / error, len(difference) - 1))
