"""Comparison of final objectives: differences to the best, and scores over all tasks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from estbench.report.model.significance import Paired
from estbench.report.model.study import Study
from estbench.report.text.findings import method
from estbench.report.text.formatting import MISSING, listing, number, probability, with_interval
from estbench.report.text.recommendation import gap_words
from estbench.stats import Floats, Interval, improvement, interquartile_mean, mean_interval, normalised

_FEW = "With fewer than 5 seeds no interval of it was found to keep its level, and none is given."


@dataclass(frozen=True)
class ComparisonTable:
    """A table of comparisons, as text.

    Args:
        title: its heading.
        columns: headings.
        rows: an estimator each.
        lines: sentences on how it was made.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    lines: list[str]


def of_task(study: Study, task: str) -> ComparisonTable | None:
    """The differences to the best in a task's main objective; None with fewer than two seeds."""
    quantity = study.objective(task)
    if quantity is None:
        return None
    paired, sign = study.paired(task, quantity.key), 1 if quantity.better == "higher" else -1
    if not paired.tested():
        return None
    column = study.contestants(task, quantity.key)
    order = column.loc[column.index.isin(paired.labels)].sort_values("gap", ascending=False, kind="stable")
    first = str(order.index[0])
    rows = [_against(paired, sign, row, first) for _, row in order.reset_index().iterrows()]
    columns = [
        "estimator",
        quantity.title,
        "against the best of the others",
        "adjusted p",
        f"probability to beat {first}",
    ]
    about = (
        "Seeds are paired: with one seed all estimators start from the same parameters and see the same minibatches. "
        "In parentheses: Student's 95 % intervals of each mean over seeds. Against the best of the others: "
        "simultaneous 95 % intervals; p is below 0.05 where such an interval says worse at both ends. The last "
        f"column is the probability that a run ends better than one of {first}, ties counted half."
    )
    return ComparisonTable("Differences to the best", columns, rows, [method(paired), about, *_few(paired.runs)])


def _against(paired: Paired, sign: int, row: pd.Series, first: str) -> list[str]:
    """A row: an estimator's mean, and how it differs from the best of the others."""
    label = str(row["label"])
    own, rival = (sign * paired.found(name) for name in (label, first))
    p = MISSING if math.isnan(row["p"]) else probability(row["p"])
    beats = MISSING if label == first else _share(improvement(own[None], rival[None]))
    return [label, _estimate(mean_interval(sign * own)), gap_words(row), p, beats]


def of_all(study: Study) -> ComparisonTable | None:
    """Scores over all tasks; None with fewer than two tasks or seeds."""
    found = scores(study)
    if len(found) < 2 or next(iter(found.values())).shape[0] < 2:
        return None
    middles = {label: interquartile_mean(own) for label, own in found.items()}
    best, *others = sorted(middles, key=lambda label: -middles[label].value)
    rows = [[best, _estimate(middles[best]), MISSING]]
    rows += [[label, _estimate(middles[label]), _share(improvement(found[label], found[best]))] for label in others]
    tasks, runs = found[best].shape
    about = (
        f"Final objectives on test data of {tasks} tasks, {runs} seeds each, scaled so that on each task the worst of "
        "the estimators' means is 0 and the best is 1. The interquartile mean is that of the middle half of all runs "
        "over all tasks; the probability is averaged over tasks (Agarwal et al. 2021)."
    )
    oracles = {label for _, label in study.references}
    left = [label for label in study.labels if label not in found and label not in oracles]
    note = [f"Left out, as some task or seed is missing: {listing(left)}."] if left else []
    columns = ["estimator", "interquartile mean score", f"probability to beat {best}"]
    return ComparisonTable("Over all tasks", columns, rows, [about, *_few(found[best].T), *note])


def scores(study: Study) -> Mapping[str, Floats]:
    """Scores ``(tasks, seeds)`` of the estimators that have as many seeds on each task as any; 0 worst, 1 best."""
    tables = []
    for task in study.tasks:
        quantity = study.objective(task)
        if quantity is None:
            continue
        own = study.runs[(study.runs["task"] == task) & (study.runs["quantity"] == quantity.key)]
        own = own[~own["label"].isin(study.references_of(task))]
        if len(own):
            sign = 1 if quantity.better == "higher" else -1
            tables.append(sign * own.pivot_table(index="label", columns="seed", values="value", sort=False))
    if not tables:
        return {}
    runs = min(table.shape[1] for table in tables)
    tables = [table.iloc[:, :runs].dropna() for table in tables]
    common = [label for label in tables[0].index if all(label in table.index for table in tables)]
    if runs < 2 or not common:
        return {}
    scaled = [_scaled(table.loc[common]) for table in tables]
    return {str(label): np.stack([values[i] for values in scaled]) for i, label in enumerate(common)}


def _scaled(table: pd.DataFrame) -> Floats:
    values = table.to_numpy(dtype=float)
    return normalised(values.mean(1), values)


def _few(runs: Floats) -> list[str]:
    return [_FEW] if len(runs) < 5 else []


def _estimate(found: Interval) -> str:
    return number(found.value, 3) if math.isnan(found.low) else with_interval(*found)


def _share(found: Interval) -> str:
    share = f"{found.value * 100:.0f} %"
    return share if math.isnan(found.low) else f"{share} ({found.low * 100:.0f} to {found.high * 100:.0f})"
