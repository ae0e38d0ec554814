"""All that tables and figures are made from, computed once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import pandas as pd

from estbench.report import frame
from estbench.report.evidence import mark
from estbench.report.quantities import Quantity, estimates, quantities
from estbench.report.style import Look, looks

Options: TypeAlias = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Study:
    """Results, prepared.

    Args:
        rows: the results with labels.
        estimates: value, interval, and marks by task, estimator and quantity.
        troubles: cells that are not applicable or failed.
        families: family by label, where known.
        looks: colour, dash and marker by label.
        options: all options of ``task`` and ``estimator``, by specification, where known.
    """

    rows: pd.DataFrame
    estimates: pd.DataFrame
    troubles: pd.DataFrame
    families: Mapping[str, str]
    looks: Mapping[str, Look]
    options: Options

    @classmethod
    def of(
        cls, results: pd.DataFrame, families: Mapping[str, str] | None = None, options: Options | None = None
    ) -> Self:
        """Prepares results.

        Args:
            results: rows as in docs/results.md.
            families: family by estimator's name.
            options: all options by ``task`` or ``estimator``, specification and name.
        """
        rows = frame.prepare(results)
        names = dict(zip(rows["label"], rows["estimator"], strict=True))
        known = families or {}
        by_label = {label: known[name] for label, name in names.items() if name in known}
        found = mark(estimates(rows), rows)
        return cls(rows, found, frame.troubles(rows), by_label, looks(sorted(names), by_label), options or {})

    @property
    def tasks(self) -> list[str]:
        """The tasks, in the order of the results."""
        return list(dict.fromkeys(self.rows["task"]))

    @property
    def labels(self) -> list[str]:
        """The estimators, in the order of the results."""
        return list(dict.fromkeys(self.rows["label"]))

    def labels_of(self, task: str) -> list[str]:
        """The estimators of a task."""
        return list(dict.fromkeys(self.rows.loc[self.rows["task"] == task, "label"]))

    def quantities_of(self, task: str) -> list[Quantity]:
        """What is known of a task's estimators."""
        return quantities(self.estimates[self.estimates["task"] == task])

    def column(self, task: str, key: str) -> pd.DataFrame:
        """One quantity of a task's estimators, indexed by label."""
        chosen = (self.estimates["task"] == task) & (self.estimates["quantity"] == key)
        return self.estimates[chosen].set_index("label")
