"""The study: everything that tables and figures are made from, computed once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import pandas as pd

from estbench.core.metrics import RESULT, Metrics, Quantity
from estbench.measures.metrics import BUILT_IN
from estbench.report.model.completeness import Planned, missing
from estbench.report.model.declared import Declared
from estbench.report.model.display import display_names
from estbench.report.model.looks import Look, looks
from estbench.report.model.quantities import Columns, described, estimates, final
from estbench.report.model.rows import labelled, troubles
from estbench.report.model.significance import Paired, mark, uncrowned
from estbench.report.model.targets import Target, reached, targets, times

Options: TypeAlias = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Study:
    """Results, prepared.

    More than twelve public methods, because tables, sentences and figures each ask for another part of the results.

    Args:
        rows: the results with labels.
        estimates: value, interval, and marks by task, estimator and quantity.
        troubles: cells that are not applicable or failed, and remarks on others.
        families: family by label, where known.
        looks: colour, dash and marker by label.
        options: all options of ``task`` and ``estimator``, by specification, where known.
        runs: the last values of each seed's training run, and its time to the task's target.
        targets: the target of the objective, by task.
        metrics: what the measures declare.
        quantities: the columns of the tables, in their order.
        references: task and label of the oracles, which take no part in tests.
        declared: what estimators declare, by label.
        missing: measurements that failed or were not made, by task, estimator and measure.
        display: short names of the tasks.
    """

    rows: pd.DataFrame
    estimates: pd.DataFrame
    troubles: pd.DataFrame
    families: Mapping[str, str]
    looks: Mapping[str, Look]
    options: Options
    runs: pd.DataFrame
    targets: Mapping[str, Target]
    metrics: Metrics
    quantities: tuple[Quantity, ...]
    references: frozenset[tuple[str, str]]
    declared: Mapping[str, Declared]
    missing: pd.DataFrame
    display: Mapping[str, str]

    @classmethod
    def of(
        cls,
        results: pd.DataFrame,
        families: Mapping[str, str] | None = None,
        options: Options | None = None,
        wanted: Mapping[str, float] | None = None,
        metrics: Metrics | None = None,
        planned: Planned | None = None,
    ) -> Self:
        """Prepares results.

        Args:
            results: rows as in docs/reference/results.md.
            families: family by estimator's name.
            options: all options by ``task`` or ``estimator``, specification and name.
            wanted: targets of objectives, by metric.
            metrics: what the measures declare; of a measure that is not among them, what the built-in one of this
                name does.
            planned: the measures that the run was to make, by task and estimator, where that is known.
        """
        rows = labelled(results)
        names = dict(zip(rows["label"], rows["estimator"], strict=True))
        known = families or {}
        by_label = {label: known[name] for label, name in names.items() if name in known}
        declared = (metrics or Metrics()) + BUILT_IN
        columns = Columns.of(rows, declared)
        goals = targets(rows, wanted or {}, declared)
        timed = reached(rows, goals, declared)
        runs = pd.concat([table for table in (final(columns), timed) if len(table)] or [timed], ignore_index=True)
        references, declarations = _references(rows), Declared.of(rows)
        joined = _joined(columns, timed, references, declarations)
        quantities = described(joined, columns)
        absent = missing(rows, planned)
        found = mark(joined, runs, quantities)
        found = uncrowned(found, quantities, _partial(absent, references))
        look = looks(sorted(names), by_label, {label for _, label in references})
        return cls(
            rows, found, troubles(rows), by_label, look, options or {}, runs, goals, declared, quantities, references,
            declarations, absent, display_names(list(dict.fromkeys(rows["task"]))),
        )  # fmt: skip

    def partial(self, task: str, measure: str) -> bool:
        """Whether any estimator but an oracle lacks values of a measure on a task."""
        return (task, measure) in _partial(self.missing, self.references)

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
        """The columns of a task's table."""
        there = set(self.estimates.loc[self.estimates["task"] == task, "quantity"])
        return [quantity for quantity in self.quantities if quantity.key in there]

    def quantity(self, key: str) -> Quantity:
        """The column with a key."""
        return next(quantity for quantity in self.quantities if quantity.key == key)

    def unit(self, task: str, quantity: Quantity) -> str:
        """The unit of a column's values as a sentence has it after a number, with a space before it, or empty."""
        rows = self.rows
        own = rows[(rows["task"] == task) & (rows["measure"] == quantity.measure) & (rows["metric"] == quantity.key)]
        found = quantity.unit or next(iter(own["unit"]), "")
        return f" {found}" if found else ""

    def objective(self, task: str) -> Quantity | None:
        """A task's main result, its last objective on test data; None if it has none."""
        found = [quantity for quantity in self.quantities_of(task) if quantity.declared.rank == RESULT]
        return found[-1] if found else None

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


def _joined(
    columns: Columns,
    timed: pd.DataFrame,
    references: frozenset[tuple[str, str]],
    declarations: Mapping[str, Declared],
) -> pd.DataFrame:
    """Value and interval of every quantity, times to a target too, with what each estimator is and declares."""
    tables = [table for table in (estimates(columns), times(timed)) if len(table)] or [times(timed)]
    joined = pd.concat(tables, ignore_index=True)
    joined = joined.assign(reached=joined.get("reached", joined["seeds"]).fillna(joined["seeds"]))
    pairs = zip(joined["task"], joined["label"], strict=True)
    # the dtype is given for results without any value
    joined["reference"] = pd.Series([pair in references for pair in pairs], joined.index, dtype=bool)
    joined["declared"] = [declarations[str(label)].bias for label in joined["label"]]
    return joined


def _partial(absent: pd.DataFrame, references: frozenset[tuple[str, str]]) -> set[tuple[str, str]]:
    """The tasks and measures with missing values, those of oracles aside."""
    places = absent[["task", "label", "measure"]].itertuples(index=False, name=None)
    return {(task, measure) for task, label, measure in places if (task, label) not in references}


def _references(rows: pd.DataFrame) -> frozenset[tuple[str, str]]:
    """The oracles, each by its task and label."""
    oracles = rows.loc[rows["reference"], ["task", "label"]].itertuples(index=False, name=None)
    return frozenset((str(task), str(label)) for task, label in oracles)
