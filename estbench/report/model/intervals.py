"""Averages over seeds and products of measured values, with their intervals."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from estbench import stats

KEYS = ("task", "label", "quantity")


def averaged(rows: pd.DataFrame, keys: Sequence[str] = KEYS) -> pd.DataFrame:
    """Means over seeds, with intervals from those of the values.

    Seeds are measured at different parameters, so their true values differ; the interval is that of the mean over
    these points. The squared distances to the bounds add up on either side (Zou & Donner 2008).
    """
    spread = rows.assign(down=(rows["value"] - rows["low"]) ** 2, up=(rows["high"] - rows["value"]) ** 2)
    groups = spread.groupby(list(keys), sort=False)
    others = _unless(keys, step=("step", "max"))
    found = groups.agg(value=("value", "mean"), n=("n", "sum"), seeds=("seed", "nunique"), **others)
    found["low"] = found["value"] - np.sqrt(groups["down"].sum(min_count=1)) / groups.size()
    found["high"] = found["value"] + np.sqrt(groups["up"].sum(min_count=1)) / groups.size()
    return found.reset_index()


def root_mean_square(rows: pd.DataFrame) -> pd.DataFrame:
    """Root mean squares over seeds, for biases, which are roots of positive parts.

    A bound that was cut off at 0 does not say how far the interval of the square reached below 0. The interval is then
    taken as symmetric, since otherwise a mean over seeds would find biases in noise.
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
    half = stats.mean_margin(groups["value"].std(), groups.size())
    return found.assign(low=found["value"] - half, high=found["value"] + half).reset_index()


def _unless(keys: Sequence[str], **columns: tuple[str, str]) -> dict[str, tuple[str, str]]:
    return {column: how for column, how in columns.items() if column not in keys}


def products(a: pd.DataFrame, b: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Products of two independent positive quantities, such as variance and seconds."""
    both = a.merge(b, on=["task", "label"], suffixes=("", "_b"))
    sides = ("value", "low", "high")
    one, other = ([both[side + suffix].to_numpy(dtype=float) for side in sides] for suffix in ("", "_b"))
    found = dict(zip(sides, stats.product(tuple(one), tuple(other)), strict=True))  # type: ignore[arg-type]
    return both.assign(quantity=quantity, **found)[[*KEYS, *sides, "n", "seeds", "step"]]
