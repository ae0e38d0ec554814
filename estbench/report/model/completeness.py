"""What is missing from results: cells that failed, and cells that a run was stopped before."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import pandas as pd

# the measures of a run by task and estimator, each by its specification
Planned: TypeAlias = Mapping[str, Mapping[str, Sequence[str]]]

COLUMNS = ("task", "label", "measure", "reason", "seeds", "of")


def missing(rows: pd.DataFrame, planned: Planned | None = None) -> pd.DataFrame:
    """The measurements without values, by task, estimator and measure: ``failed`` or ``not measured``.

    Every estimator of a task is expected to be measured as the task's others are, with every seed of the measure there.
    ``seeds`` says of how many seeds a measurement is missing, ``of`` out of how many. What is not applicable or
    unresolved is not missing: it has been measured.

    Args:
        rows: the results, prepared.
        planned: what was to be measured, where that is known; it names estimators and measures that have no row at all.
    """
    found = []
    for task, own in rows.groupby("task", sort=False):
        wanted = {measure: set(each["seed"]) for measure, each in own.groupby("measure", sort=False)}
        present = {pair: set(each["seed"]) for pair, each in own.groupby(["label", "measure"], sort=False)}
        failed = own[own["status"] == "failed"].groupby(["label", "measure"], sort=False)["seed"].nunique()
        pairs = dict.fromkeys((label, measure) for label in own["label"].unique() for measure in wanted)
        for label, measure in pairs | _planned(own, planned or {}):
            seeds = wanted.get(measure, set())
            absent = len(seeds - present.get((label, measure), set())) if seeds else 1
            for reason, count in (("not measured", absent), ("failed", int(failed.get((label, measure), 0)))):
                if count:
                    found.append((task, label, measure, reason, count, max(len(seeds), 1)))
    return pd.DataFrame(found, columns=list(COLUMNS))


def _planned(rows: pd.DataFrame, planned: Planned) -> dict[tuple[str, str], None]:
    """The estimators and measures that were planned for a task, which the task's rows may lack."""
    estimators = planned.get(str(rows["spec"].iloc[0]), {})
    return dict.fromkeys((label, measure) for label, measures in estimators.items() for measure in measures)
