"""Results as a table for pandas: a column for each option, and a flag for the last step."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

_CELL = ["task", "label", "seed", "device", "dtype", "measure", "metric"]


def with_options(
    results: pd.DataFrame, labels: pd.Series, known: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> pd.DataFrame:
    """The results with columns for options, the label, and whether a row is the last of its training or trajectory.

    Args:
        results: the rows of a run.
        labels: each row's estimator with its options.
        known: the options of each task and estimator, by ``task`` or ``estimator`` and its name with options.
    """
    frame = results.drop(columns="picture", errors="ignore").reset_index(drop=True)
    frame.insert(2, "label", labels.to_numpy())
    last = frame.groupby(_CELL, dropna=False)["step"].transform("max")
    frame.insert(3, "final", frame["step"].isna() | (frame["step"] == last))
    tasks = frame["task"].map(lambda task: _prefixed("task", known.get("task", {}).get(task, {})))
    estimators = frame["label"].map(lambda label: _prefixed("estimator", known.get("estimator", {}).get(label, {})))
    chosen = frame.get("chosen", pd.Series("{}", frame.index)).map(_chosen)
    options = [_merged(*parts) for parts in zip(tasks, estimators, chosen, strict=True)]
    return pd.concat([frame, pd.DataFrame(options, frame.index, dtype=object).apply(_typed)], axis=1)


def _typed(column: pd.Series) -> pd.Series:
    """An option's values in their own type: where some rows have none, pandas makes whole numbers fractions."""
    kinds = {type(value) for value in column.dropna()}
    if kinds == {int}:
        return column.astype("Int64")
    return column.astype(float) if kinds and kinds <= {int, float} else column


def _prefixed(kind: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
    return {f"{kind}_{name}": tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def _chosen(text: Any) -> Mapping[str, Any]:
    """What was chosen on validation."""
    return dict(json.loads(text)) if isinstance(text, str) and text else {}


def _merged(task: Mapping[str, Any], estimator: Mapping[str, Any], chosen: Mapping[str, Any]) -> Mapping[str, Any]:
    """All options of a row; of one that was tuned what was chosen."""
    options = {**task, **estimator}
    for name, value in chosen.items():
        for kind in ("task", "estimator"):
            if f"{kind}_{name}" in options:
                options[f"{kind}_{name}"] = value
    return options
