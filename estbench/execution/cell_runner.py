"""Measuring: a cell becomes rows, whatever happens in it."""

import dataclasses
import functools
import json
import sys
from collections import defaultdict
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
import torch

from estbench.core.estimator import Estimator, NotApplicableError
from estbench.core.task import Task
from estbench.engine.base import Bench, Member, Row, verdict
from estbench.engine.journal import Journal, NoJournal
from estbench.plan.cell import Cell
from estbench.plugins.registry import Catalogue, discover
from estbench.plugins.spec import Spec
from estbench.runtime import memory
from estbench.runtime.guard import muted
from estbench.runtime.precision import stored
from estbench.store.records import Result


def measure(cell: Cell) -> pd.DataFrame:
    """The rows of a cell; a failure is a row too."""
    return Result.of(alone(cell, NoJournal())).rows


def alone(cell: Cell, journal: Journal) -> list[dict[str, Any]]:
    """The rows of a cell."""
    memory.reuse()
    by_label = {str(spec): spec for spec in cell.estimators}
    rows: list[dict[str, Any]] = []
    try:
        shared = _bench(cell.task, cell.files, cell.seed, cell.device, cell.dtype)
        bench = dataclasses.replace(shared, cell=cell.identity, journal=journal)
        makers = {label: functools.partial(_admitted, cell, spec) for label, spec in by_label.items()}
        for label, row in _catalogue("measure", cell.files).make(cell.measure).rows(bench, makers):
            if label in by_label:
                rows.append(record(cell, by_label[label], row))
    except (Exception, SystemExit) as error:  # noqa: BLE001  (a plugin may raise anything)
        rows = [record(cell, spec, verdict(error)) for spec in cell.estimators]
    return rows


def measure_batch(cells: Mapping[Cell, Journal], *, auto: bool = False) -> list[tuple[list[dict[str, Any]], str]]:
    """The rows of each cell, and why it was not measured together with the others."""
    memory.reuse()
    first, data = next(iter(cells)), defaultdict[Spec, dict[Hashable, Any]](dict)
    try:
        members = [_member(cell, journal, data[cell.task], auto=auto) for cell, journal in cells.items()]
        found = _catalogue("measure", first.files).make(first.measure).together(members)
    except (Exception, SystemExit) as error:  # noqa: BLE001  (a plugin may raise anything)
        return [(alone(cell, journal), verdict(error).error) for cell, journal in cells.items()]
    each = [[verdict(one.error)] if one.error else one.rows for one in found]
    return [
        ([record(cell, cell.estimators[0], row) for row in rows], one.note)
        for cell, rows, one in zip(cells, each, found, strict=True)
    ]


def _member(cell: Cell, journal: Journal, data: dict[Hashable, Any], *, auto: bool) -> Member:
    """A cell among others; of the same task they share the data."""
    (spec,) = cell.estimators
    shared = _bench(cell.task, cell.files, cell.seed, cell.device, cell.dtype)
    bench = dataclasses.replace(shared, memory=data, cell=cell.identity, journal=journal)
    return Member(bench, str(spec), functools.partial(_admitted, cell, spec), auto)


def parameters(cell: Cell) -> int:
    """How many parameters the model of a cell has; of a model that cannot be made, too many."""
    try:
        with muted():
            return sum(parameter.numel() for parameter in task_of(cell).model().parameters())
    except (Exception, SystemExit):  # noqa: BLE001  (a plugin may raise anything; the cell itself will say so)
        return sys.maxsize


def task_of(cell: Cell) -> Task:
    """The task of a cell."""
    return _bench(cell.task, cell.files, cell.seed, cell.device, cell.dtype).task


def record(cell: Cell, spec: Spec, row: Row) -> dict[str, Any]:
    """A row with the cell behind it, as a store takes it."""
    options = {**cell.task.options, **spec.options}
    chosen = {name: options[name] for name in cell.tuned if name in options}
    return {
        "task": str(cell.task.without(cell.tuned)),
        "estimator": spec.name,
        "params": spec.without(cell.tuned).params,
        "chosen": json.dumps(chosen, sort_keys=True),
        "seed": cell.seed,
        "device": cell.device,
        "dtype": cell.dtype,
        "measure": cell.measure.name,
        "reference": spec.name == _oracle_of(cell.task.name, cell.files),
        **vars(row),
    }


@functools.lru_cache(maxsize=8)
def _oracle_of(task: str, files: tuple[str, ...]) -> str | None:
    """The name of a task's oracle, by what its class declares: a task that cannot be made has rows too."""
    try:
        oracle: str | None = _catalogue("task", files)[task].load().oracle
    except (Exception, SystemExit):  # noqa: BLE001  (a plugin may raise anything; the cell itself will say so)
        return None
    return oracle


@functools.lru_cache(maxsize=8)
def _catalogue(kind: str, files: tuple[str, ...]) -> Catalogue:
    return discover(kind, files)


@functools.lru_cache(maxsize=2)
def _bench(task: Spec, files: tuple[str, ...], seed: int, device: str, dtype: str) -> Bench:
    made = _catalogue("task", files).make(task)
    baseline = functools.partial(_estimator, files, Spec.one(made.baseline), dtype)
    oracle = functools.partial(_oracle, files, made.oracle, dtype) if made.oracle else None
    recipe = functools.partial(_bench, task, files, seed, device, dtype)
    return Bench(made, seed, torch.device(device), stored(dtype), baseline, oracle, recipe=recipe)


def _estimator(files: tuple[str, ...], spec: Spec, dtype: str) -> Estimator:
    return _catalogue("estimator", files).make(spec).to(stored(dtype))


def _admitted(cell: Cell, spec: Spec) -> Estimator:
    """An estimator that may be used on the cell's task."""
    estimator = _estimator(cell.files, spec, cell.dtype)
    if refusal := task_of(cell).refusal(estimator):
        raise NotApplicableError(refusal)
    return estimator


def _oracle(files: tuple[str, ...], name: str, dtype: str, bound: int) -> Estimator:
    return _estimator(files, Spec(name, {"samples": bound}), dtype)
