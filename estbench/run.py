"""Running: a cell becomes rows, whatever happens in it."""

import functools
import json
from collections.abc import Iterator
from typing import Any

import pandas as pd
import torch

from estbench.estimator import Estimator
from estbench.executors import Executor
from estbench.measure.base import Bench, Row, verdict
from estbench.plan import Cell, Plan
from estbench.plugins import Catalogue, discover
from estbench.spec import Spec
from estbench.store import COLUMNS, Store
from estbench.task import Task


def run(plan: Plan, store: Store, executor: Executor) -> Iterator[tuple[Cell, pd.DataFrame, bool]]:
    """Measures the cells that the store does not hold.

    Yields:
        Each cell with its rows as it is done, and whether they were in the store.
    """
    missing = []
    for cell in plan.cells:
        rows = store.get(plan.key(cell))
        if rows is None or (rows["status"] == "failed").any():
            missing.append(cell)
        else:
            yield cell, rows, True
    for cell, rows in executor.run(missing, measure):
        store.put(plan.key(cell), rows)
        yield cell, rows, False


def measure(cell: Cell) -> pd.DataFrame:
    """The rows of a cell; a failure is a row too."""
    by_label = {str(spec): spec for spec in cell.estimators}
    rows: list[dict[str, Any]] = []
    try:
        bench = _bench(cell.task, cell.files, cell.seed, cell.device, cell.dtype)
        makers = {
            label: functools.partial(_estimator, cell.files, spec, cell.dtype) for label, spec in by_label.items()
        }
        for label, row in _catalogue("measure", cell.files).make(cell.measure).rows(bench, makers):
            if label in by_label:
                rows.append(_record(cell, by_label[label], row))
    except Exception as error:  # noqa: BLE001  (a plugin may raise anything; its cell fails, the others go on)
        rows = [_record(cell, spec, verdict(error)) for spec in cell.estimators]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def task_of(cell: Cell) -> Task:
    """The task of a cell."""
    return _bench(cell.task, cell.files, cell.seed, cell.device, cell.dtype).task


def _record(cell: Cell, spec: Spec, row: Row) -> dict[str, Any]:
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
        **vars(row),
    }


@functools.lru_cache(maxsize=8)
def _catalogue(kind: str, files: tuple[str, ...]) -> Catalogue:
    return discover(kind, files)


@functools.lru_cache(maxsize=2)
def _bench(task: Spec, files: tuple[str, ...], seed: int, device: str, dtype: str) -> Bench:
    made = _catalogue("task", files).make(task)
    baseline = functools.partial(_estimator, files, Spec.one(made.baseline), dtype)
    oracle = functools.partial(_oracle, files, made.oracle, dtype) if made.oracle else None
    return Bench(made, seed, torch.device(device), getattr(torch, dtype), baseline, oracle)


def _estimator(files: tuple[str, ...], spec: Spec, dtype: str) -> Estimator:
    return _catalogue("estimator", files).make(spec).to(getattr(torch, dtype))


def _oracle(files: tuple[str, ...], name: str, dtype: str, bound: int) -> Estimator:
    return _estimator(files, Spec(name, {"samples": bound}), dtype)
