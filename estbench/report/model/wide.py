"""The estimates as one table."""

import pandas as pd

from estbench.report.model.quantities import quantities
from estbench.report.model.study import Study


def summary(results: pd.DataFrame) -> pd.DataFrame:
    """One row a task and estimator with its options.

    Columns: ``task``, ``estimator``; for each quantity (``variance``, ``step_time``, ``elbo_test``, ...) its
    value, ``…_low``, ``…_high`` and ``…_mark`` (``best``, ``tied``, ``reference`` or empty); ``status`` and ``error``.
    """
    found = Study.of(results)
    index = found.rows[["task", "label"]].drop_duplicates()
    table = index.rename(columns={"label": "estimator"}).reset_index(drop=True)
    for quantity in quantities(found.estimates):
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
        # what is only to be noted is no trouble
        status=found.troubles["status"].replace("note", ""),
    )
    groups = notes.groupby(["task", "estimator"], sort=False)
    told = groups.agg(status=("status", "max"), error=("error", "; ".join)).reset_index()
    return told.assign(status=told["status"].replace("", "ok"))
