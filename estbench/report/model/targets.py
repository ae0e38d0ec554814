"""Targets: how long training takes until the objective first reaches a given value."""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from estbench.core.metrics import Metrics
from estbench.errors import UserError, nearest
from estbench.report.model.intervals import KEYS, student
from estbench.report.model.quantities import SECONDS_TO_TARGET, STEPS_TO_TARGET, TRAINING
from estbench.report.model.rows import measured, replica_counts
from estbench.stats import Floats


@dataclass(frozen=True)
class Target:
    """A target of training.

    Args:
        metric: an objective.
        value: the value that has to be reached.
    """

    metric: str
    value: float


def targets(rows: pd.DataFrame, wanted: Mapping[str, float], metrics: Metrics) -> dict[str, Target]:
    """The target of each task that was evaluated along training, on validation data if there are any.

    By default it is the worst value at the end of any of the task's training runs, which all of them reach.

    Args:
        rows: the results.
        wanted: targets by metric.
        metrics: which direction of a metric is better.
    """
    found = {}
    for task, own in measured(rows, TRAINING).groupby("task", sort=False):
        metric = _metric(own, wanted)
        if metric:
            ends = own[own["metric"] == metric].sort_values("step", kind="stable").groupby(["label", "seed"])["value"]
            last = ends.last()
            worst = float(last.max() if metrics.find(TRAINING, metric).better == "lower" else last.min())
            found[str(task)] = Target(metric, wanted.get(metric, worst))
    return found


def check_wanted(rows: pd.DataFrame, wanted: Mapping[str, float]) -> None:
    """Whether every requested metric was evaluated along some training.

    Args:
        rows: the results.
        wanted: targets by metric.

    Raises:
        UserError: a metric was not, so that nothing could be timed to its target.
    """
    trained = rows[(rows["measure"] == TRAINING) & (rows["metric"] != "")]
    steps = trained.groupby("metric")["step"].nunique()
    along = [str(metric) for metric in steps.index[steps > 1]]
    for metric in wanted:
        if metric not in along:
            raise UserError(f"no training was evaluated along its steps on {metric!r}; {nearest(metric, along)}")


def _metric(rows: pd.DataFrame, wanted: Mapping[str, float]) -> str:
    """The metric of the target: the requested one, or the objective on validation data, or else on test data."""
    steps = rows.groupby("metric")["step"].nunique()
    often = [str(metric) for metric in steps.index[steps > 1]]
    asked = [metric for metric in often if metric in wanted]
    objectives = [metric for split in ("_valid", "_test") for metric in often if metric.endswith(split)]
    objectives.sort(key=lambda metric: not metric.startswith(("elbo", "nll", "loss")))
    return next(iter([*asked, *objectives]), "")


def reached(rows: pd.DataFrame, goals: Mapping[str, Target], metrics: Metrics) -> pd.DataFrame:
    """Steps and seconds until each seed's training reached its task's target; ``value`` is NaN where it did not.

    The objective is interpolated linearly between evaluations. Seconds are left out if some runs of a task were trained
    alone and others in ensembles, or in ensembles of different sizes, since the seconds of an ensemble are shares.
    """
    found, axes = [], ((STEPS_TO_TARGET, "step"), (SECONDS_TO_TARGET, "seconds"))
    curves = measured(rows, TRAINING).sort_values("step", kind="stable")
    by_task = curves.groupby("task", sort=False)
    alike: dict[Hashable, bool] = {task: len(replica_counts(own)) == 1 for task, own in by_task}
    wanted = curves["task"].map({task: goal.metric for task, goal in goals.items()})
    for (task, label, seed), curve in curves[curves["metric"] == wanted].groupby(["task", "label", "seed"], sort=False):
        goal = goals[str(task)]
        sign = -1.0 if metrics.find(TRAINING, goal.metric).better == "lower" else 1.0
        values, end = sign * curve["value"].to_numpy(dtype=float), curve.iloc[-1]
        for quantity, axis in axes if alike[task] else axes[:1]:
            value = crossing(curve[axis].to_numpy(dtype=float), values, sign * goal.value)
            row = {"task": task, "label": label, "quantity": quantity.key, "seed": seed, "value": value}
            found.append({**row, "until": end[axis], "step": end["step"], "seconds": end["seconds"], "n": math.nan})
    columns = [*KEYS, "seed", "value", "until", "step", "seconds", "n"]
    return pd.DataFrame(found, columns=columns)


def crossing(x: Floats, y: Floats, target: float) -> float:
    """Where a curve through these points first reaches the target; NaN if it never does."""
    above = np.flatnonzero(y >= target)
    if not len(above):
        return math.nan
    i = int(above[0])
    if i == 0:
        return float(x[0])
    return float(x[i - 1] + (target - y[i - 1]) / (y[i] - y[i - 1]) * (x[i] - x[i - 1]))


def times(runs: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds with Student's intervals, where all seeds reached the target.

    Otherwise there is no mean: a run that ended before it reached the target gives only a lower bound (it is censored).
    The interval then goes from the shortest run that missed the target to infinity; ``reached`` counts the others.
    """
    if runs.empty:
        return pd.DataFrame(columns=[*KEYS, "value", "low", "high", "n", "seeds", "step", "reached"])
    found = student(runs).merge(
        runs.groupby(list(KEYS), sort=False)["value"].count().rename("reached").reset_index(), on=list(KEYS)
    )
    missed = runs[runs["value"].isna()].groupby(list(KEYS), sort=False)["until"].min().rename("until").reset_index()
    found = found.merge(missed, on=list(KEYS), how="left")
    short = found["reached"] < found["seeds"]
    found.loc[short, "value"] = math.nan
    found["low"] = found["low"].clip(lower=0).mask(short, found["until"])
    found["high"] = found["high"].mask(short, math.inf)
    return found.drop(columns="until")
