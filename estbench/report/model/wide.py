"""The estimates as one table."""

import pandas as pd

from estbench.core.metrics import Metrics
from estbench.report.model.study import Study


def summary(results: pd.DataFrame, metrics: Metrics | None = None) -> pd.DataFrame:
    """One row a task and estimator with its options.

    Columns: ``task``, ``estimator``; for each quantity (``variance``, ``step_time``, ``elbo_test``, ...) its
    value, ``…_low``, ``…_high`` and ``…_mark`` (``best``, ``tied``, ``reference`` or empty); ``status`` and ``error``.

    Args:
        results: rows as in docs/reference/results.md.
        metrics: what the measures declare, as a run's folder holds it; the built-in ones need none.
    """
    found = Study.of(results, metrics=metrics)
    index = found.rows[["task", "label"]].drop_duplicates()
    table = index.rename(columns={"label": "estimator"}).reset_index(drop=True)
    for quantity in found.quantities:
        chosen = found.estimates[found.estimates["quantity"] == quantity.key]
        mark = chosen["tied"].map({True: "tied", False: ""}).mask(chosen["best"], "best")
        mark = mark.mask(chosen["reference"], "reference")
        columns = {
            "value": quantity.key,
            **{side: f"{quantity.key}_{side}" for side in ("low", "high", "mark")},
        }
        own = chosen.assign(mark=mark).rename(columns={"label": "estimator", **columns})
        table = table.merge(own[["task", "estimator", *columns.values()]], on=["task", "estimator"], how="left")
    return table.merge(_troubles(found), on=["task", "estimator"], how="left").fillna({"status": "ok", "error": ""})


def _troubles(found: Study) -> pd.DataFrame:
    notes = found.troubles.assign(
        error=found.troubles["measure"] + ": " + found.troubles["error"],
        estimator=found.troubles["label"],
        # remarks are not failures
        status=found.troubles["status"].replace("note", ""),
    )
    groups = notes.groupby(["task", "estimator"], sort=False)
    told = groups.agg(status=("status", "max"), error=("error", "; ".join)).reset_index()
    return told.assign(status=told["status"].replace("", "ok"))
