"""Compares two runs, stores or commits, and tells which values differ significantly."""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from estbench.core.metrics import Metrics, Quantity
from estbench.errors import UserError
from estbench.report.model.intervals import averaged
from estbench.runtime.environment import resolve
from estbench.stats import compare_pair, holm, student_paired
from estbench.store import declared
from estbench.store.records import joined
from estbench.store.store import Store
from estbench.workflows.export import Loaded, load_results

# from the most to the least important
VERDICTS = ("worse", "failed", "missing", "better", "changed", "untested", "new", "same")
_AFTER = " after "
_FIGURE = ["task", "estimator", "params", "device", "dtype", "measure", "metric"]


@dataclass(frozen=True)
class Change:
    """One value, before and after.

    Args:
        key: the columns of the results that identify it: task, estimator, and so on, with measure and metric last.
        verdict: one of :data:`VERDICTS`.
        before: mean over seeds; NaN if there was none.
        after: likewise.
        p: of "no difference", corrected over all values; NaN where nothing was tested.
    """

    key: tuple[str, ...]
    verdict: str
    before: float = math.nan
    after: float = math.nan
    p: float = math.nan


@dataclass(frozen=True)
class Difference:
    """The differences between two sides.

    Args:
        changes: all values, the most important verdicts first.
        alpha: level of the tests.
    """

    changes: list[Change]
    alpha: float

    @property
    def code(self) -> int:
        """0 if nothing is worse, 1 if something is, 3 if nothing is but something failed or is missing."""
        verdicts = {change.verdict for change in self.changes}
        return 1 if "worse" in verdicts else 3 if verdicts & {"failed", "missing"} else 0

    @property
    def summary(self) -> str:
        """A summary in one line."""
        counts = Counter(change.verdict for change in self.changes)
        parts = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]]
        level = f"tests at {self.alpha:g} over all values (Holm)"
        return f"{len(self.changes)} values: {', '.join(parts) or 'none in common'}; {level}."


def diff(before: str, after: str, store: Path, alpha: float = 0.05) -> Difference:
    """Compares two runs, two stores or two commits, value by value.

    Values whose interval is over seeds, such as those of training, are compared seed by seed (Student's paired test),
    others by their intervals; p-values are corrected over all values by Holm's method.

    Args:
        before: a run's folder, a store, or a commit whose cells are in ``store``.
        after: likewise.
        store: where the cells of commits are.
        alpha: probability of any false alarm.

    Raises:
        UserError: a side holds no results.
    """
    if not 0 < alpha < 1:
        raise UserError(f"alpha is a probability between 0 and 1; got {alpha}")
    loaded = [_load(name, store) for name in (before, after)]
    metrics = loaded[1].metrics + loaded[0].metrics
    sides = [_by_key(side.rows, metrics) for side in loaded]
    changes = [
        _change(key, metrics, *(side.get(key) for side in sides)) for key in dict.fromkeys([*sides[0], *sides[1]])
    ]
    corrected = holm([change.p for change in changes])
    judged = [_judge(change, p, alpha, metrics) for change, p in zip(changes, corrected, strict=True)]
    return Difference(sorted(judged, key=lambda change: (VERDICTS.index(change.verdict), change.p)), alpha)


def _load(name: str, store: Path) -> Loaded:
    """The results of a folder, or of the runs of a commit."""
    if Path(name).exists():
        return load_results(Path(name))
    commit = resolve(name)
    kept = Store(store)
    found = kept.find(kept.noted(commit or name))
    if not found:
        what = f"{name!r} is no folder, and {store} holds no run of such a commit"
        known = ", ".join(sorted(label[:12] for label in kept.labels()))
        raise UserError(f"{what}; it holds runs of: {known or 'none'}")
    return Loaded(joined(found.values()), declared.of_results(found.values()))


def _by_key(results: pd.DataFrame, metrics: Metrics) -> dict[tuple[str, ...], pd.DataFrame]:
    """The rows of each value, a seed each: of what is compared by seeds the last ones.

    Roots of what is tested as a square are left out, and what has no interval, such as a p-value.
    """
    rows = results.fillna({"metric": ""})
    known = {
        pair: metrics.find(*map(str, pair)).declared.interval
        for pair in zip(rows["measure"], rows["metric"], strict=True)
    }
    declared_interval = pd.Series(
        [known[pair] for pair in zip(rows["measure"], rows["metric"], strict=True)], rows.index, dtype=object
    )
    own = rows["low"].notna() & rows["high"].notna()
    any_own = own.groupby([rows["measure"], rows["metric"]]).transform("any")
    by_seeds = (declared_interval == "seeds") | ((declared_interval == "own") & ~any_own & (rows["metric"] != ""))
    untested = declared_interval.isin(["bound", "none"])
    kept = ~untested & (by_seeds | own | (rows["status"] != "ok"))
    rows, by_seeds = rows[kept].copy(), by_seeds[kept]
    rows["metric"] = rows["metric"].where(by_seeds, _at_step(rows))
    last = rows.groupby([*_FIGURE, "seed"])["step"].transform("max")
    groups = rows[rows["step"] == last].groupby(_FIGURE, sort=False)
    return {tuple(map(str, key)): group for key, group in groups}


def _at_step(rows: pd.DataFrame) -> pd.Series:
    """Metrics with the step that they were measured at, where that is not the first."""
    return rows["metric"].where(rows["step"] == 0, rows["metric"] + _AFTER + rows["step"].astype(str))


def _quantity(key: tuple[str, ...], metrics: Metrics) -> Quantity:
    """What is declared of a value."""
    measure, metric = key[-2:]
    return metrics.find(measure, metric.partition(_AFTER)[0])


def _change(key: tuple[str, ...], metrics: Metrics, before: pd.DataFrame | None, after: pd.DataFrame | None) -> Change:
    if before is None:
        return Change(key, "failed" if after is not None and _bad(after) else "new")
    if after is None:
        return Change(key, "missing")
    if _bad(before) or _bad(after):
        return Change(key, "failed" if _bad(after) else "changed")
    pairs = before.merge(after, on="seed", suffixes=("", "_after"))
    values = before["value"].mean(), after["value"].mean()
    # without intervals of their own values are compared by their seeds
    by_seeds = _quantity(key, metrics).by_seeds or bool(pairs["low"].isna().any())
    p = _paired(pairs) if by_seeds and len(pairs) > 1 else _by_intervals(before, after)
    return Change(key, "same", *values, p)


def _bad(rows: pd.DataFrame) -> bool:
    return bool((rows["status"] == "failed").any())


def _paired(pairs: pd.DataFrame) -> float:
    return student_paired(np.asarray(pairs["value_after"] - pairs["value"], dtype=float))


def _by_intervals(before: pd.DataFrame, after: pd.DataFrame) -> float:
    one, other = (averaged(rows, _FIGURE).iloc[0][["value", "low", "high"]] for rows in (before, after))
    return float(compare_pair(tuple(one), tuple(other)))


def _judge(change: Change, p: float, alpha: float, metrics: Metrics) -> Change:
    """A change with its corrected p-value and what it means."""
    if change.verdict == "same" and math.isnan(p) and change.before != change.after:
        # one seed of a training without an interval, say; what is NaN on both sides was not measured
        verdict = "same" if math.isnan(change.before) and math.isnan(change.after) else "untested"
        return Change(change.key, verdict, change.before, change.after, p)
    if change.verdict != "same" or not p < alpha:
        return Change(change.key, change.verdict, change.before, change.after, p)
    better = _quantity(change.key, metrics).better
    verdict = "better" if (change.after < change.before) == (better == "lower") else "worse"
    return Change(change.key, verdict if better else "changed", change.before, change.after, p)
