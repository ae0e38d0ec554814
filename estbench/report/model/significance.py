"""Significance: how every estimator compares with the best of a column, and tests between all pairs."""

import functools
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from estbench.core.metrics import Quantity
from estbench.stats import (
    SIGNIFICANCE,
    Floats,
    PairedTests,
    Pairs,
    WithBest,
    best_of_independent,
    best_of_paired,
    paired_all,
)

# values this close to the best one count as equally good: objectives, and other metrics
OBJECTIVE_SHARE, RATIO = 0.01, 1.05
_ADDED = ("gap", "gap_low", "gap_high", "margin", "p")
_FLAGS = ("ratio", "best", "tied", "close")


@dataclass(frozen=True)
class Paired:
    """Training runs of all estimators of a task, paired by seed.

    Args:
        labels: the estimators, in the order of the columns.
        runs: the value of each seed, ``(seeds, estimators)``, NaN if it is missing.
    """

    labels: Sequence[str]
    runs: Floats

    @classmethod
    def of(cls, runs: pd.DataFrame) -> "Paired":
        """Takes rows with one seed and estimator each."""
        table = runs.pivot_table(index="seed", columns="label", values="value", sort=False)
        return cls([str(label) for label in table.columns], table.to_numpy(dtype=float))

    @functools.cached_property
    def tests(self) -> PairedTests:
        """Tests between all pairs."""
        return paired_all(self.runs)

    @property
    def seeds(self) -> int:
        """How many seeds the least complete estimator has."""
        return int((~np.isnan(self.runs)).sum(0).min(initial=len(self.runs)))

    def tested(self) -> bool:
        """Whether there are two estimators with two seeds."""
        return int(((~np.isnan(self.runs)).sum(0) > 1).sum()) > 1

    def p(self, one: str, other: str) -> float:
        """The p-value between two estimators, corrected over all pairs; NaN where they were not tested."""
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


def mark(
    estimates: pd.DataFrame,
    runs: pd.DataFrame,
    quantities: Iterable[Quantity],
) -> pd.DataFrame:
    """Adds how estimators compare with the best of each column.

    The columns ``gap``, ``gap_low`` and ``gap_high`` hold the difference to the best of the others with its
    simultaneous interval, negative for worse. It is that of the logarithms (``ratio``) if all values of a metric
    without seeds are positive. ``p`` is adjusted and agrees with the interval: below 5 % where it excludes 0. ``best``
    is the best value, ``tied`` is what is not worse than every estimator that may be the best, the best among them,
    and ``close`` what is tied and at most ``margin`` worse. If nothing could be tested, nothing is marked.

    Args:
        estimates: a row a task, estimator and quantity. A ``reference`` is never marked; neither are estimators that
            are declared biased (``declared``), in columns in which only unbiased ones compete and there are such.
        runs: what each seed's training found, by ``task``, ``quantity``, ``label`` and ``seed``.
        quantities: what the estimates are of.
    """
    known = {quantity.key: quantity for quantity in quantities}
    marked = estimates.assign(**dict.fromkeys(_ADDED, math.nan), **dict.fromkeys(_FLAGS, False))
    found = []
    for (task, key), column in marked.groupby(["task", "quantity"], sort=False):
        quantity = known[str(key)]
        usable = _competing(column, quantity)
        if quantity.better and len(usable) > 1:
            own = runs[(runs["task"] == task) & (runs["quantity"] == key) & runs["label"].isin(usable["label"])]
            by_seeds = quantity.by_seeds
            found.append(_paired(usable, quantity, Paired.of(own)) if by_seeds else compare_with_best(usable, quantity))
    if found:
        judged = pd.concat(found)
        for name in judged:
            told = judged[name].dropna()
            marked.loc[told.index, name] = told.astype(marked[name].dtype)
    return marked


def uncrowned(
    marked: pd.DataFrame, quantities: Iterable[Quantity], partial: Collection[tuple[str, str]]
) -> pd.DataFrame:
    """Takes the marks away from the columns of measures that lack values: whoever is missing might be the best.

    Args:
        marked: what ``mark`` returns.
        quantities: what it is of.
        partial: tasks and measures with missing values.
    """
    measures = {quantity.key: quantity.measure for quantity in quantities}
    places = zip(marked["task"], marked["quantity"].map(measures), strict=True)
    chosen = pd.Series([place in partial for place in places], marked.index, dtype=bool)
    return marked.assign(**{flag: marked[flag] & ~chosen for flag in ("best", "tied", "close")})


def _competing(column: pd.DataFrame, quantity: Quantity) -> pd.DataFrame:
    """The estimators that may be the best: no oracle, and no biased one where being unbiased is what matters."""
    usable = column[column["value"].notna() & ~column["reference"]]
    fair = usable["declared"] != "biased"
    return usable[fair] if quantity.declared.unbiased and fair.any() else usable


def compare_with_best(column: pd.DataFrame, quantity: Quantity) -> pd.DataFrame:
    """Compares independent values with the best of them, by their intervals; see ``mark`` for the columns.

    Args:
        column: a row an estimator, with ``value``, ``low`` and ``high``.
        quantity: what the values are of.

    Returns:
        The rows that could be tested; none if the best value has no interval.
    """
    if quantity.is_bound and (column["low"] <= 0).any():
        # if no bias was found, the smallest upper bound is the best
        none = column["low"] <= 0
        return pd.DataFrame({"best": none & (column["high"] == column["high"][none].min()), "tied": none})
    sides = [column[key].to_numpy(dtype=float) for key in ("value", "low", "high")]
    known = ~np.isnan(sides[1]) & ~np.isnan(sides[2])
    best = int(np.argmin(sides[0] if quantity.better == "lower" else -sides[0]))
    if not known[best] or known.sum() < 2:
        return pd.DataFrame()
    value, low, high = (side[known] for side in sides)
    pairs = best_of_independent(value, low, high, higher=quantity.better == "higher")
    ratio = bool((low > 0).all())
    margin = math.log(RATIO) if ratio else (RATIO - 1) * abs(float(sides[0][best]))
    return _marks(column.index[known], pairs, margin, ratio=ratio)


def _paired(column: pd.DataFrame, quantity: Quantity, paired: Paired) -> pd.DataFrame:
    if not paired.tested():
        return pd.DataFrame()
    places = pd.Series(column.index, column["label"])
    higher = quantity.better == "higher"
    best = column["value"].max() if higher else column["value"].min()
    margin = OBJECTIVE_SHARE * abs(float(best))
    pairs = best_of_paired(paired.runs if higher else -paired.runs)
    return _marks(pd.Index(places[list(paired.labels)]), pairs, margin, ratio=False)


def _marks(index: pd.Index, pairs: Pairs, margin: float, *, ratio: bool) -> pd.DataFrame:
    found: WithBest = pairs.with_best()
    tied = found.p >= SIGNIFICANCE
    best = np.arange(len(index)) == int(found.difference.argmax())
    return pd.DataFrame(
        {
            "gap": found.difference, "gap_low": found.low, "gap_high": found.high, "margin": margin,
            # the best is not tested against itself
            "p": np.where(best, math.nan, found.p),
            "ratio": ratio, "best": best, "tied": tied, "close": tied & ~best & (found.low >= -margin),
        },
        index,
    )  # fmt: skip
