"""Measures cells in the current process; failures become rows too."""

import dataclasses
import functools
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch

from estbench.core.estimator import Estimator, NotApplicableError
from estbench.core.metrics import Metrics
from estbench.core.task import Task
from estbench.engine.base import Bench, Member, MemberOutcome, Row, verdict
from estbench.engine.checks import described
from estbench.engine.journal import Journal, NoJournal
from estbench.errors import listed
from estbench.planning.cell import Cell
from estbench.plugins.registry import Plugins
from estbench.plugins.spec import Spec
from estbench.runtime import memory
from estbench.runtime.device import check_answers
from estbench.runtime.guard import muted, pass_on
from estbench.runtime.isolation import isolated
from estbench.runtime.precision import stored
from estbench.store.records import Result


@dataclass(frozen=True)
class Record:
    """A row of a measure, with the columns that describe its cell, in the form of the store.

    Args:
        task: the task as text, without options that were tuned.
        estimator: the estimator's name.
        params: the estimator's options as text, without those that were tuned.
        chosen: the options that were chosen on validation data, as JSON.
        seed: the seed.
        device: the device.
        dtype: the dtype.
        measure: the measure's name.
        reference: whether the estimator is the task's oracle.
        declared: what the estimator declares about its bias; empty if it is not known.
        row: what was measured.
    """

    task: str
    estimator: str
    params: str
    chosen: str
    seed: int
    device: str
    dtype: str
    measure: str
    reference: bool
    declared: str
    row: Row

    @property
    def columns(self) -> Mapping[str, Any]:
        """The values by column; see docs/reference/results.md."""
        return {**{name: value for name, value in vars(self).items() if name != "row"}, **vars(self.row)}


@dataclass(frozen=True)
class CellRunner:
    """Measures cells in this process.

    Args:
        plugins: the plugins that the cells use.
        seconds: how long a task may take to make its model if only its size is needed; None for no limit.
    """

    plugins: Plugins
    seconds: float | None = None

    def measure(self, cell: Cell) -> pd.DataFrame:
        """The rows of a cell as a table; a failure is a row too."""
        return Result.of(record.columns for record in self.alone(cell, NoJournal())).rows

    def alone(self, cell: Cell, journal: Journal) -> list[Record]:
        """The rows of a cell."""
        memory.reuse()
        by_label = {str(spec): spec for spec in cell.estimators}
        rows: list[Record] = []
        try:
            bench = dataclasses.replace(self._bench(cell), cell=cell.identity, journal=journal)
            makers = {label: self._maker(cell, spec) for label, spec in by_label.items()}
            for label, row in self.plugins.measures.make(cell.measure).rows(bench, makers):
                rows.append(self.record(cell, _of(label, by_label), row))
            rows += self._silent(cell, rows)
        except BaseException as error:  # noqa: BLE001  (a plugin may raise anything)
            pass_on(error)
            check_answers(torch.device(cell.device), error)
            rows = self.failed(cell, error)
        return rows

    def _silent(self, cell: Cell, rows: Iterable[Record]) -> list[Record]:
        """A failed row for each estimator of a cell for which the measure yielded no row."""
        told = {(each.estimator, each.params) for each in rows}
        row = Row(status="failed", error=f"the measure {cell.measure.name} yielded no row of it")
        records = (self.record(cell, spec, row) for spec in cell.estimators)
        return [each for each in records if (each.estimator, each.params) not in told]

    def _recorded(self, cell: Cell, rows: Iterable[Row]) -> list[Record]:
        """The rows of a cell with a single estimator."""
        records = [self.record(cell, cell.estimators[0], row) for row in rows]
        return records + self._silent(cell, records)

    def failed(self, cell: Cell, error: BaseException) -> list[Record]:
        """The rows of a cell that could not be measured."""
        return [self.record(cell, spec, verdict(error)) for spec in cell.estimators]

    def together(self, cells: Mapping[Cell, Journal], *, auto: bool = False) -> list[tuple[list[Record], str]]:
        """The rows of each cell, and the reason if it was not measured together with the others."""
        memory.reuse()
        first, data = next(iter(cells)), defaultdict[Spec, dict[Hashable, Any]](dict)
        members: list[Member] = []
        failed: str | None = None
        found: list[MemberOutcome] = []
        try:
            for cell, journal in cells.items():
                members.append(self._member(cell, journal, data[cell.task], auto=auto))
                # tasks that differ only in a learning rate have the same data
                members[-1].bench.take_data(member.bench for member in members[:-1])
            found = self.plugins.measures.make(first.measure).together(members)
        except BaseException as error:  # noqa: BLE001  (a plugin may raise anything)
            pass_on(error)
            check_answers(torch.device(first.device), error)
            failed = verdict(error).error
        if failed is not None:
            # each cell alone has data of its own; after the except block nothing else holds those of the members
            members.clear()
            data.clear()
            memory.collect(torch.device(first.device))
            return [(self.alone(cell, journal), failed) for cell, journal in cells.items()]
        return [
            (self._recorded(cell, [verdict(one.error)] if one.error else one.rows), one.note)
            for cell, one in zip(cells, found, strict=True)
        ]

    def declared(self, cell: Cell, rows: Iterable[Record]) -> Mapping[str, Any]:
        """What the cell's measure declares of the metrics in these rows, for JSON; empty if it has failed."""
        name = cell.measure.name
        try:
            metrics = Metrics({name: self.plugins.measures[name].load().metrics})
        except BaseException as error:  # noqa: BLE001  (a plugin may raise anything; the rows say so)
            pass_on(error)
            return {}
        return metrics.used({name: {each.row.metric for each in rows}}).to_json()

    def parameters(self, cell: Cell) -> int:
        """How many parameters the model of a cell has; of a model that cannot be made, too many."""

        def count() -> int:
            return sum(parameter.numel() for parameter in self.task(cell).model().parameters())

        foreign = self.plugins.tasks[cell.task.name].foreign
        try:
            if foreign:
                # a model that hangs is waited for as long as a cell may take; the failure is then reported by its cell
                return isolated(count, self.seconds)
            with muted():
                return count()
        except BaseException as error:  # noqa: BLE001  (a plugin may raise anything; the cell itself will say so)
            pass_on(error)
            return sys.maxsize

    def task(self, cell: Cell) -> Task:
        """The task of a cell."""
        return self._bench(cell).task

    def record(self, cell: Cell, spec: Spec, row: Row) -> Record:
        """A row with the columns that describe its cell, in the form of the store."""
        options = {**cell.task.options, **spec.options}
        chosen = {name: options[name] for name in cell.tuned if name in options}
        return Record(
            task=str(cell.task.without(cell.tuned)),
            estimator=spec.name,
            params=spec.without(cell.tuned).params,
            chosen=json.dumps(chosen, sort_keys=True),
            seed=cell.seed,
            device=cell.device,
            dtype=cell.dtype,
            measure=cell.measure.name,
            reference=spec.name == _oracle_of(self.plugins, cell.task.name),
            declared=_declared_of(self.plugins, spec),
            row=row,
        )

    def _member(self, cell: Cell, journal: Journal, data: dict[Hashable, Any], *, auto: bool) -> Member:
        """A cell as one of several measurements; those of the same task share the data."""
        (spec,) = cell.estimators
        bench = dataclasses.replace(self._bench(cell), memory=data, cell=cell.identity, journal=journal)
        return Member(bench, str(spec), self._maker(cell, spec), auto)

    def _bench(self, cell: Cell) -> Bench:
        return _bench(self.plugins, cell.task, cell.seed, cell.device, cell.dtype)

    def _maker(self, cell: Cell, spec: Spec) -> Callable[[], Estimator]:
        """Makes an estimator in any process."""
        return functools.partial(_admitted, self, cell, spec)


@functools.lru_cache(maxsize=8)
def _oracle_of(plugins: Plugins, task: str) -> str | None:
    """The name of a task's oracle, by what its class declares: a task that cannot be made has rows too."""
    try:
        plugin = plugins.tasks[task]
        ask: Callable[[], str | None] = lambda: plugin.load().oracle  # noqa: E731
        oracle = isolated(ask) if plugin.foreign else ask()
    except BaseException as error:  # noqa: BLE001  (a plugin may raise anything; the cell itself will say so)
        pass_on(error)
        return None
    return oracle


@functools.lru_cache(maxsize=256)
def _declared_of(plugins: Plugins, spec: Spec) -> str:
    """Whether an estimator with these options is declared unbiased, and of what; empty if it cannot be made."""
    try:
        plugin = plugins.estimators[spec.name]
        ask: Callable[[], str] = lambda: _declaration(plugins.estimators.make(spec))  # noqa: E731
        return isolated(ask) if plugin.foreign else ask()
    except BaseException as error:  # noqa: BLE001  (a plugin may raise anything; the cell itself will say so)
        pass_on(error)
        return ""


def _declaration(estimator: Estimator) -> str:
    bound = estimator.bound
    return ("unbiased" if estimator.unbiased else "biased") + (f", {bound}-sample bound" if bound > 1 else "")


# only the last one, so that a device holds the data of one bench; cells come in the order of their tasks and seeds
@functools.lru_cache(maxsize=1)
def _bench(plugins: Plugins, task: Spec, seed: int, device: str, dtype: str) -> Bench:
    """The bench that cells of one task, seed, device and dtype share, with what they have drawn already."""
    made = plugins.tasks.make(task)
    baseline = functools.partial(_estimator, plugins, plugins.baseline(made), dtype)
    oracle = functools.partial(_oracle, plugins, made.oracle, dtype) if made.oracle else None
    recipe = functools.partial(_bench, plugins, task, seed, device, dtype)
    return Bench(made, seed, torch.device(device), stored(dtype), baseline, oracle, recipe=recipe)


def _of(label: object, by_label: Mapping[str, Spec]) -> Spec:
    """The estimator with this label.

    Raises:
        ValueError: the measure was given no estimator with this label.
    """
    if not isinstance(label, str) or label not in by_label:
        raise ValueError(f"a measure yields rows of {listed(list(by_label))}; got {described(label)}")
    return by_label[label]


def forget() -> None:
    """Drops the benches that cells share, with their data: third-party code may have changed them."""
    _bench.cache_clear()


def _estimator(plugins: Plugins, spec: Spec, dtype: str) -> Estimator:
    return plugins.estimators.make(spec).to(stored(dtype))


def _oracle(plugins: Plugins, name: str, dtype: str, bound: int) -> Estimator:
    return _estimator(plugins, Spec(name, {"samples": bound}), dtype)


def _admitted(runner: CellRunner, cell: Cell, spec: Spec) -> Estimator:
    """The estimator, if it may be used on the cell's task."""
    estimator = _estimator(runner.plugins, spec, cell.dtype)
    if refusal := runner.task(cell).refusal(estimator):
        raise NotApplicableError(refusal)
    return estimator
