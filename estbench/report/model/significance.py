"""Significance: tests between all estimators, corrected over the column of the table."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from estbench.core.metrics import Quantity
from estbench.stats import SIGNIFICANCE, Floats, PairedTests, compare_all, paired_all


@dataclass(frozen=True)
class Paired:
    """Tests between the training runs of all estimators of a task.

    Args:
        labels: the estimators, in the order of the tests' rows and columns.
        runs: the value of each seed, ``(seeds, estimators)``, NaN if it is missing.
        tests: the tests.
    """

    labels: Sequence[str]
    runs: Floats
    tests: PairedTests

    @classmethod
    def of(cls, runs: pd.DataFrame) -> "Paired":
        """Makes the tests from rows with one seed and estimator each."""
        table = runs.pivot_table(index="seed", columns="label", values="value", sort=False)
        values = table.to_numpy(dtype=float)
        return cls([str(label) for label in table.columns], values, paired_all(values))

    def p(self, one: str, other: str) -> float:
        """The p-value between two estimators; NaN where they were not tested."""
        if one not in self.labels or other not in self.labels:
            return math.nan
        return float(self.tests.p[self.labels.index(one), self.labels.index(other)])

    def found(self, label: str) -> Floats:
        """The values of an estimator, by seed."""
        values = self.runs[:, self.labels.index(label)]
        return np.asarray(values[~np.isnan(values)])

    def differences(self, one: str, other: str) -> Floats:
        """The differences of two estimators' values, for the seeds that both have."""
        gaps = self.runs[:, self.labels.index(one)] - self.runs[:, self.labels.index(other)]
        return np.asarray(gaps[~np.isnan(gaps)])


def mark(estimates: pd.DataFrame, runs: pd.DataFrame, quantities: Iterable[Quantity]) -> pd.DataFrame:
    """Adds ``p`` (against the best, Holm over all pairs), ``best`` and ``tied`` (the best among them).

    The correction covers all pairs, since the best estimator is chosen from the same data. If nothing could be tested,
    nothing is marked: one seed, or values without intervals.

    Args:
        estimates: a row a task, estimator and quantity; an oracle's is a ``reference``, and never marked.
        runs: what each seed's training found, by ``task``, ``quantity``, ``label`` and ``seed``.
        quantities: what the estimates are of.
    """
    known = {quantity.key: quantity for quantity in quantities}
    marked = estimates.assign(p=math.nan, best=False, tied=False)
    for (task, key), column in marked.groupby(["task", "quantity"], sort=False):
        quantity = known[str(key)]
        # an oracle takes no part in tests
        usable = column[column["value"].notna() & ~column["reference"]]
        if not quantity.better or len(usable) < 2:
            continue
        own = runs[(runs["task"] == task) & (runs["quantity"] == key) & runs["label"].isin(usable["label"])]
        judged = _judge(usable, quantity, own)
        marked.loc[judged.index, ["p", "best", "tied"]] = judged
    return marked.astype({"best": bool, "tied": bool})


def against(column: pd.DataFrame, place: int) -> Floats:
    """p-values of independent values against the one at a place, from their intervals, Holm over all pairs."""
    values = tuple(column[key].to_numpy(dtype=float) for key in ("value", "low", "high"))
    return np.asarray(compare_all(values)[place])  # type: ignore[arg-type]


def _judge(column: pd.DataFrame, quantity: Quantity, runs: pd.DataFrame) -> pd.DataFrame:
    values = column["value"] if quantity.better == "lower" else -column["value"]
    best = int(np.argmin(values))
    if quantity.by_seeds:
        paired = Paired.of(runs)
        p = np.array([paired.p(str(label), str(column["label"].iloc[best])) for label in column["label"]])
    elif quantity.is_bound and (column["low"] <= 0).any():
        # if no bias was found, the smallest upper bound is the best
        none = column["low"] <= 0
        first = column["high"] == column["high"][none].min()
        return pd.DataFrame({"p": math.nan, "best": none & first, "tied": none})
    else:
        p = against(column, best)
    others = np.arange(len(column)) != best
    # the best is not tested against itself
    adjusted = pd.Series(np.where(others, p, math.nan), column.index)
    tied = (adjusted >= SIGNIFICANCE) | ~others
    tested = bool(adjusted.notna().any())
    return pd.DataFrame({"p": adjusted, "best": ~others & tested, "tied": tied & tested})
