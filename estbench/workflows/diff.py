"""Two runs or two commits: which figures differ for real."""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from estbench.errors import UserError
from estbench.report.model.intervals import averaged
from estbench.report.model.quantities import better
from estbench.runtime.environment import resolve
from estbench.stats import compare_pair, holm, student_paired
from estbench.store.records import joined
from estbench.store.store import Store
from estbench.workflows.export import load

# by weight
VERDICTS = ("worse", "failed", "missing", "better", "changed", "untested", "new", "same")
_FIGURE = ["task", "estimator", "params", "device", "dtype", "measure", "metric"]
# roots of what is tested as a square, and p-values, are no figures to test
_LEFT_OUT = ("bias/", "relative_bias/", "unbiased_p/")
_HIGHER = ("snr/", "cosine/")


@dataclass(frozen=True)
class Change:
    """One figure, before and after.

    Args:
        figure: what it is of, by the columns of the results.
        verdict: one of :data:`VERDICTS`.
        before: mean over seeds; NaN if there was none.
        after: likewise.
        p: of "no difference", corrected over all figures; NaN where nothing was tested.
    """

    figure: tuple[str, ...]
    verdict: str
    before: float = math.nan
    after: float = math.nan
    p: float = math.nan


@dataclass(frozen=True)
class Difference:
    """What differs.

    Args:
        changes: all figures, the weightiest first.
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
        """All in one line."""
        counts = Counter(change.verdict for change in self.changes)
        parts = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]]
        level = f"tests at {self.alpha:g} over all figures (Holm)"
        return f"{len(self.changes)} figures: {', '.join(parts) or 'none in common'}; {level}."


def diff(before: str, after: str, store: Path, alpha: float = 0.05) -> Difference:
    """Compares two runs, two stores or two commits, figure by figure.

    Figures of training are compared seed by seed (Student's paired test), others by their intervals; p-values are
    corrected over all figures by Holm's method.

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
    sides = [_figures(_load(name, store)) for name in (before, after)]
    changes = [
        _change(figure, *(side.get(figure) for side in sides)) for figure in dict.fromkeys([*sides[0], *sides[1]])
    ]
    corrected = holm([change.p for change in changes])
    judged = [_judge(change, p, alpha) for change, p in zip(changes, corrected, strict=True)]
    return Difference(sorted(judged, key=lambda change: (VERDICTS.index(change.verdict), change.p)), alpha)


def _load(name: str, store: Path) -> pd.DataFrame:
    """The results of a folder, or of the runs of a commit."""
    if Path(name).exists():
        return load(Path(name))
    commit = resolve(name)
    kept = Store(store)
    found = kept.find(kept.noted(commit or name))
    if not found:
        what = f"{name!r} is no folder, and {store} holds no run of such a commit"
        known = ", ".join(sorted(label[:12] for label in kept.labels()))
        raise UserError(f"{what}; it holds runs of: {known or 'none'}")
    return joined(found.values())


def _figures(results: pd.DataFrame) -> dict[tuple[str, ...], pd.DataFrame]:
    """The rows of each figure, a seed each: of a training the last ones."""
    rows = results[~results["metric"].str.startswith(_LEFT_OUT)]
    # trainings are compared by their seeds
    tested = (rows["status"] != "ok") | (rows["low"].notna() & rows["high"].notna()) | (rows["measure"] == "training")
    rows = rows[tested].fillna({"metric": ""})
    rows["metric"] = rows["metric"].where(rows["measure"] == "training", _at_step(rows))
    last = rows.groupby([*_FIGURE, "seed"])["step"].transform("max")
    groups = rows[rows["step"] == last].groupby(_FIGURE, sort=False)
    return {tuple(map(str, key)): group for key, group in groups}


def _at_step(rows: pd.DataFrame) -> pd.Series:
    """Metrics with the step that they were measured at, where that is not the first."""
    return rows["metric"].where(rows["step"] == 0, rows["metric"] + " after " + rows["step"].astype(str))


def _change(figure: tuple[str, ...], before: pd.DataFrame | None, after: pd.DataFrame | None) -> Change:
    if before is None:
        return Change(figure, "failed" if after is not None and _bad(after) else "new")
    if after is None:
        return Change(figure, "missing")
    if _bad(before) or _bad(after):
        return Change(figure, "failed" if _bad(after) else "changed")
    pairs = before.merge(after, on="seed", suffixes=("", "_after"))
    values = before["value"].mean(), after["value"].mean()
    p = (
        _paired(pairs)
        if figure[_FIGURE.index("measure")] == "training" and len(pairs) > 1
        else _by_intervals(before, after)
    )
    return Change(figure, "same", *values, p)


def _bad(rows: pd.DataFrame) -> bool:
    return bool((rows["status"] == "failed").any())


def _paired(pairs: pd.DataFrame) -> float:
    return student_paired(np.asarray(pairs["value_after"] - pairs["value"], dtype=float))


def _by_intervals(before: pd.DataFrame, after: pd.DataFrame) -> float:
    one, other = (averaged(rows, _FIGURE).iloc[0][["value", "low", "high"]] for rows in (before, after))
    return float(compare_pair(tuple(one), tuple(other)))


def _judge(change: Change, p: float, alpha: float) -> Change:
    """A change with its corrected p-value and what it means."""
    if change.verdict == "same" and math.isnan(p) and change.before != change.after:
        # one seed of a training without an interval, say; what is NaN on both sides was not measured
        verdict = "same" if math.isnan(change.before) and math.isnan(change.after) else "untested"
        return Change(change.figure, verdict, change.before, change.after, p)
    if change.verdict != "same" or not p < alpha:
        return Change(change.figure, change.verdict, change.before, change.after, p)
    measure, metric = change.figure[-2:]
    lower = better(metric) == "lower" if measure == "training" else not metric.startswith(_HIGHER)
    worse = (change.after > change.before) == lower
    return Change(change.figure, "worse" if worse else "better", change.before, change.after, p)
