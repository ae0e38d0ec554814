"""Intervals for combinations of measured figures."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

KEYS = ("task", "label", "quantity")


def averaged(rows: pd.DataFrame, keys: Sequence[str] = KEYS) -> pd.DataFrame:
    """Means over seeds, with intervals from those of the figures.

    Seeds measure at different parameters, so what is averaged differs; the interval is that of the mean over
    these very points. Distances to the bounds add in squares on either side (Zou & Donner 2008).
    """
    spread = rows.assign(down=(rows["value"] - rows["low"]) ** 2, up=(rows["high"] - rows["value"]) ** 2)
    groups = spread.groupby(list(keys), sort=False)
    others = _unless(keys, step=("step", "max"))
    found = groups.agg(value=("value", "mean"), n=("n", "sum"), seeds=("seed", "nunique"), **others)
    found["low"] = found["value"] - np.sqrt(groups["down"].sum(min_count=1)) / groups.size()
    found["high"] = found["value"] + np.sqrt(groups["up"].sum(min_count=1)) / groups.size()
    return found.reset_index()


def root_mean_square(rows: pd.DataFrame) -> pd.DataFrame:
    """Means of squares over seeds, rooted, for biases, which are roots of positive parts.

    A bound cut off at 0 tells nothing about how far below it the square's interval reached: the interval is
    taken as symmetric there, or else a mean over seeds would find biases in noise.
    """
    squares = {column: rows[column] ** 2 for column in ("value", "low", "high")}
    reflected = np.minimum(2 * squares["value"] - squares["high"], 0.0)
    squares["low"] = squares["low"].where(rows["low"] > 0, reflected)
    found = averaged(rows.assign(**squares))
    for column in ("value", "low", "high"):
        found[column] = np.sqrt(found[column].clip(lower=0))
    return found


def student(rows: pd.DataFrame, keys: Sequence[str] = KEYS) -> pd.DataFrame:
    """Means over seeds with Student's intervals; none for a single seed."""
    groups = rows.groupby(list(keys), sort=False)
    others = _unless(keys, step=("step", "max"), n=("n", "max"), seconds=("seconds", "mean"))
    found = groups.agg(value=("value", "mean"), seeds=("seed", "nunique"), **others)
    count = groups.size()
    half = groups["value"].std() / np.sqrt(count) * stats.t.ppf(0.975, (count - 1).clip(lower=1))
    return found.assign(low=found["value"] - half, high=found["value"] + half).reset_index()


def _unless(keys: Sequence[str], **columns: tuple[str, str]) -> dict[str, Any]:
    return {column: how for column, how in columns.items() if column not in keys}


def product(a: pd.DataFrame, b: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Products of two independent positive quantities, such as variance and seconds."""
    both = a.merge(b, on=["task", "label"], suffixes=("", "_b"))
    value = both["value"] * both["value_b"]
    with np.errstate(divide="ignore", invalid="ignore"):
        down = np.hypot(np.log(both["value"] / both["low"]), np.log(both["value_b"] / both["low_b"]))
        up = np.hypot(np.log(both["high"] / both["value"]), np.log(both["high_b"] / both["value_b"]))
    # nothing times anything is nothing, without doubt
    low, high = (side.mask(value == 0, 0.0) for side in (value * np.exp(-down), value * np.exp(up)))
    both = both.assign(quantity=quantity, value=value, low=low, high=high)
    return both[[*KEYS, "value", "low", "high", "n", "seeds", "step"]]


def log_error(value: float, low: float, high: float) -> float:
    """The standard error of a positive figure's logarithm, from its 95 % interval."""
    if not (value > 0 and low > 0 and math.isfinite(high)):
        return math.nan
    return (math.log(high) - math.log(low)) / (2 * float(stats.norm.ppf(0.975)))
