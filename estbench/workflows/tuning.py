"""Tuning: chooses the options of each estimator from trained candidates."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from estbench.measures.training import bound_name
from estbench.planning.cell import Cell
from estbench.planning.resolved import Pair
from estbench.planning.trials import Trials

COLUMNS = ("task", "estimator", "params", "chosen", "metric", "value", "low", "high", "step", "best", "error")


def choose(trials: Trials, results: Mapping[Cell, pd.DataFrame]) -> tuple[dict[Pair, Pair], pd.DataFrame]:
    """The candidate that ends best on validation, for each task and estimator.

    A candidate that failed is never chosen, unless all did; then the first is, and fails again in the comparison.

    Args:
        trials: the trained candidates.
        results: rows of each cell.

    Returns:
        The task and estimator to compare, by what they are without tuned options; and a table of all candidates.
    """
    chosen: dict[Pair, Pair] = {}
    rows: list[dict[str, Any]] = []
    for key, cells in trials.groups.items():
        judged = [_judged(trials.objectives[key], results[cell], trials.metrics[key]) for cell in cells]
        best = max(range(len(cells)), key=lambda k: judged[k]["score"])
        chosen[key] = cells[best].task, cells[best].estimators[0]
        rows += [{**row, "best": k == best} for k, row in enumerate(judged)]
    return chosen, pd.DataFrame(rows, columns=list(COLUMNS))


def _judged(objective: str, rows: pd.DataFrame, metric: str) -> dict[str, Any]:
    """A candidate with its last value on validation: the metric, or the objective's largest multi-sample bound."""
    named = metric or rf"{objective}|{bound_name(objective)}\d+"
    found = rows[rows["metric"].str.fullmatch(f"({named})_valid") & (rows["status"] == "ok")]
    if found.empty:
        first: dict[Any, Any] = rows.iloc[0].to_dict()
        missing = first["error"] or f"no {metric or objective} on validation"
        return {**first, "metric": "", "value": math.nan, "score": -math.inf, "error": missing}
    last: dict[Any, Any] = found[found["step"] == found["step"].max()].iloc[-1].to_dict()
    return {**last, "score": last["value"] if metric or objective == "elbo" else -last["value"]}
