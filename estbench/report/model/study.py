"""All that tables and figures are made from, computed once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import pandas as pd

from estbench.report.model.looks import Look, looks
from estbench.report.model.quantities import Quantity, estimates, final, quantities
from estbench.report.model.rows import prepare, troubles
from estbench.report.model.significance import Paired, mark
from estbench.report.model.targets import Target, reached, targets, times

Options: TypeAlias = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Study:
    """Results, prepared.

    Args:
        rows: the results with labels.
        estimates: value, interval, and marks by task, estimator and quantity.
        troubles: cells that are not applicable or failed, and what there is to note about others.
        families: family by label, where known.
        looks: colour, dash and marker by label.
        options: all options of ``task`` and ``estimator``, by specification, where known.
        runs: what each seed's training ended with, and how long it took to its task's target.
        targets: the objective that trainings are timed to, by task.
        references: task and label of the oracles, which are no contestants.
    """

    rows: pd.DataFrame
    estimates: pd.DataFrame
    troubles: pd.DataFrame
    families: Mapping[str, str]
    looks: Mapping[str, Look]
    options: Options
    runs: pd.DataFrame
    targets: Mapping[str, Target]
    references: frozenset[tuple[str, str]]

    @classmethod
    def of(
        cls,
        results: pd.DataFrame,
        families: Mapping[str, str] | None = None,
        options: Options | None = None,
        wanted: Mapping[str, float] | None = None,
    ) -> Self:
        """Prepares results.

        Args:
            results: rows as in docs/results.md.
            families: family by estimator's name.
            options: all options by ``task`` or ``estimator``, specification and name.
            wanted: objectives that trainings are timed to, by metric.
        """
        rows = prepare(results)
        names = dict(zip(rows["label"], rows["estimator"], strict=True))
        known = families or {}
        by_label = {label: known[name] for label, name in names.items() if name in known}
        goals = targets(rows, wanted or {})
        timed = reached(rows, goals)
        runs = pd.concat([table for table in (final(rows), timed) if len(table)] or [timed], ignore_index=True)
        tables = [table for table in (estimates(rows), times(timed)) if len(table)] or [times(timed)]
        joined = pd.concat(tables, ignore_index=True)
        oracles = rows.loc[rows["reference"], ["task", "label"]].itertuples(index=False, name=None)
        references = frozenset((str(task), str(label)) for task, label in oracles)
        joined["reference"] = [pair in references for pair in zip(joined["task"], joined["label"], strict=True)]
        found = mark(joined.assign(reached=joined.get("reached", joined["seeds"]).fillna(joined["seeds"])), runs)
        look = looks(sorted(names), by_label, {label for _, label in references})
        return cls(rows, found, troubles(rows), by_label, look, options or {}, runs, goals, references)

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

    def objective(self, task: str) -> str:
        """The key of a task's main result, its last objective on test data; empty if it has none."""
        keys = [quantity.key for quantity in self.quantities_of(task) if quantity.key.endswith("_test")]
        return keys[-1] if keys else ""

    def paired(self, task: str, key: str) -> Paired:
        """Tests between the trainings of all estimators of a task, its oracle left out."""
        own = self.runs[(self.runs["task"] == task) & (self.runs["quantity"] == key)]
        return Paired.of(own[~own["label"].isin(self.references_of(task))])

    def references_of(self, task: str) -> list[str]:
        """The oracles among a task's estimators."""
        return [label for label in self.labels_of(task) if (task, label) in self.references]

    def column(self, task: str, key: str) -> pd.DataFrame:
        """One quantity of a task's estimators, indexed by label."""
        chosen = (self.estimates["task"] == task) & (self.estimates["quantity"] == key)
        return self.estimates[chosen].set_index("label")

    def contestants(self, task: str, key: str) -> pd.DataFrame:
        """The same without the oracles."""
        column = self.column(task, key)
        return column[~column["reference"]]
