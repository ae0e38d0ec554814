"""What is missing from results: cells that failed, and cells that a run was stopped before."""

import pandas as pd

COLUMNS = ("task", "label", "measure", "reason", "seeds", "of")


def missing(rows: pd.DataFrame) -> pd.DataFrame:
    """The measurements without values, by task, estimator and measure: ``failed`` or ``not measured``.

    Every estimator of a task is expected to be measured as the task's others are, with every seed of the measure there.
    ``seeds`` says of how many seeds a measurement is missing, ``of`` out of how many. What is not applicable or
    unresolved is not missing: it has been measured.
    """
    found = []
    for task, own in rows.groupby("task", sort=False):
        wanted = {measure: set(each["seed"]) for measure, each in own.groupby("measure", sort=False)}
        present = {pair: set(each["seed"]) for pair, each in own.groupby(["label", "measure"], sort=False)}
        failed = own[own["status"] == "failed"].groupby(["label", "measure"], sort=False)["seed"].nunique()
        for label in own["label"].unique():
            for measure, seeds in wanted.items():
                absent = len(seeds - present.get((label, measure), set()))
                for reason, count in (("not measured", absent), ("failed", int(failed.get((label, measure), 0)))):
                    if count:
                        found.append((task, label, measure, reason, count, len(seeds)))
    return pd.DataFrame(found, columns=list(COLUMNS))
