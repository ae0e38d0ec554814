"""The check of a measure: it yields rows for the estimators that it is given, of metrics that it declares."""

import torch

from estbench.core.metrics import Metric
from estbench.core.task import Task
from estbench.engine.base import Bench, MakeEstimator, Measure, Row
from estbench.plugins.declarations import check_declarations
from estbench.plugins.registry import load_estimator


def check_measure(measure: Measure, task: Task, make: MakeEstimator) -> None:
    """Checks a measure on a task, with one estimator, on the CPU.

    Args:
        measure: the measure, with options that make it quick.
        task: a small task.
        make: makes an estimator that can be measured on it.

    Raises:
        AssertionError: a row has an undeclared metric or a failure, or there is no row.
        UserError: a declaration is not what it must be.
    """
    check_declarations("measure", type(measure).__name__, measure)
    bench = Bench(task, 0, torch.device("cpu"), torch.float32, lambda: load_estimator(task.baseline), None)
    with torch.random.fork_rng([]):
        found = [(key, row) for key, row in measure.rows(bench, {"estimator": make}) if key == "estimator"]
    if not found:
        raise AssertionError("it yields no row for the estimator that it is given")
    for _, row in found:
        _check(row, measure.metrics)


def _check(row: Row, metrics: tuple[Metric, ...]) -> None:
    if row.status == "failed":
        raise AssertionError(f"it fails: {row.error}")
    if row.status == "ok" and not any(metric.match(row.metric) is not None for metric in metrics):
        known = ", ".join(metric.key for metric in metrics) or "none"
        raise AssertionError(f"it yields a row of {row.metric!r}, which it does not declare; it declares {known}")
