"""Prepares rows of results for the report: checks them, cleans their texts and adds labels."""

import json
import math
from typing import Any

import numpy as np
import pandas as pd

from estbench.errors import plain
from estbench.plugins.spec import Spec
from estbench.store.records import COLUMNS

_TEXT = (
    "task",
    "estimator",
    "params",
    "chosen",
    "device",
    "dtype",
    "measure",
    "metric",
    "unit",
    "status",
    "error",
    "declared",
)
# columns that results of earlier versions lack, with their default values
_LATER: dict[str, str | int | bool] = {"picture": "", "chosen": "{}", "replicas": 1, "reference": False, "declared": ""}
_NUMBERS = ("step", "seconds", "value", "low", "high", "n")


def labelled(results: pd.DataFrame) -> pd.DataFrame:
    """Checks the columns and adds ``label``, the estimator with its options, and ``spec``, the task as it was run.

    If results come from several devices or dtypes, the task is labelled with them, since values from different
    machines are not comparable.

    Raises:
        ValueError: columns are missing.
    """
    results = results.assign(**{column: value for column, value in _LATER.items() if column not in results})
    missing = [column for column in COLUMNS if column not in results.columns]
    if missing:
        raise ValueError(f"results need the columns of docs/reference/results.md; missing: {', '.join(missing)}")
    rows = _typed(results.loc[:, list(COLUMNS)].reset_index(drop=True))
    rows["spec"] = rows["task"]
    infinite = np.isinf(rows["value"])
    rows.loc[infinite, ["status", "error"]] = "failed", "a value is infinite"
    known = rows["device"] != ""
    if len(rows.loc[known, ["device", "dtype"]].drop_duplicates()) > 1:
        rows.loc[known, "task"] += " on " + rows["device"] + ", " + rows["dtype"]
    pairs = {pair: label(*pair) for pair in set(zip(rows["estimator"], rows["params"], strict=True))}
    rows["label"] = [pairs[pair] for pair in zip(rows["estimator"], rows["params"], strict=True)]
    return rows


def given_in(spec: str) -> dict[str, str]:
    """The options that a task's label names: ``vae[dataset=mnist]``."""
    inside = spec.partition("[")[2].rpartition("]")[0]
    return dict(part.split("=", 1) for part in inside.split(",") if "=" in part)


def _typed(rows: pd.DataFrame) -> pd.DataFrame:
    for column in _TEXT:
        known = {value: "" if _absent(value) else plain(value) for value in rows[column].unique()}
        rows[column] = rows[column].map(lambda value, known=known: known.get(value, "")).astype(object)
    for column in _NUMBERS:
        rows[column] = pd.to_numeric(rows[column], errors="coerce").astype(float)
    pictures = rows["picture"].astype(object).where(rows["picture"].notna(), "").astype(str)
    reference = rows["reference"].astype("boolean").fillna(False).astype(bool)
    return rows.assign(
        step=rows["step"].fillna(0.0), seed=rows["seed"].astype(str), picture=pictures, reference=reference
    )


def _absent(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def label(estimator: str, params: str) -> str:
    """An estimator with its options: ``rloo[samples=4]``."""
    try:
        options = json.loads(params or "{}")
    except json.JSONDecodeError:
        options = {"params": params}
    return plain(Spec(estimator, options if isinstance(options, dict) else {"params": options}))


def tuned(chosen: str) -> str:
    """Options chosen on validation, in words: ``learning_rate 0.003``."""
    try:
        options = json.loads(chosen or "{}")
    except json.JSONDecodeError:
        return plain(chosen)
    pairs = options.items() if isinstance(options, dict) else ()
    return plain(", ".join(f"{name} {value}" for name, value in pairs))


def measured(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    """The rows of a measure that hold a value.

    If a value is unresolved for one seed, it is left out for all: the seeds in which it happens to be resolved are not
    representative, and neither is their mean.
    """
    own = rows[rows["measure"] == measure]
    vague = own[own["status"] == "unresolved"]
    if len(vague):
        keys = ["task", "label", "metric", "step"]
        own = own[~pd.MultiIndex.from_frame(own[keys]).isin(pd.MultiIndex.from_frame(vague[keys]))]
    return own[(own["status"] == "ok") & own["value"].notna()]


def troubles(rows: pd.DataFrame) -> pd.DataFrame:
    """Failures and remarks, one row per task, estimator, measure and reason."""
    cells = rows[(rows["status"] != "ok") | (rows["error"] != "")]
    places = zip(cells["error"], cells["status"], cells["step"], strict=True)
    errors = [
        f"{error} (after {step:.0f} steps of training)" if status == "unresolved" and step > 0 else error
        for error, status, step in places
    ]
    cells = cells.assign(error=pd.Series(errors, cells.index, dtype=object))
    cells["status"] = cells["status"].replace("ok", "note")
    keys = ["task", "label", "measure", "status", "error"]
    found = cells.groupby(keys, sort=False)["seed"].nunique().rename("seeds").reset_index()
    run = rows.groupby(keys[:3])["seed"].nunique().rename("of")
    return found.join(run, on=keys[:3])


def replica_counts(rows: pd.DataFrame) -> list[int]:
    """The numbers of replicas that were trained together, in rows of training runs."""
    return sorted(int(count) for count in measured(rows, "training")["replicas"].fillna(1).unique())


def steps_remark(rows: pd.DataFrame) -> str:
    """A remark on the range of training steps; empty if all estimators had the same number."""
    ends = measured(rows, "training").groupby("label")["step"].max()
    return f"{ends.min():,.0f} to {ends.max():,.0f} steps" if ends.min() < ends.max() else ""


def shares(rows: pd.DataFrame) -> str:
    """A remark on training times; empty if every run was trained alone."""
    counts = replica_counts(rows)
    if len(counts) > 1:
        return f"shares of ensembles of {counts[0]} to {counts[-1]}, not to be compared"
    return f"shares of ensembles of {counts[0]}" if counts and counts[0] > 1 else ""
