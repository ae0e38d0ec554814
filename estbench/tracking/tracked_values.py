"""Tracked values: the results of a comparison as positive values, of which lower is better, as asv requires."""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pandas as pd

from estbench.core.metrics import Metrics, Quantity
from estbench.errors import UserError
from estbench.plugins.spec import Spec
from estbench.store import declared
from estbench.store.run_folder import RunFolder, read_results

# below is rounding, of an exact gradient for instance; asv has no ratio to 0
FLOOR = 1e-12

_UNITS = {"s": "seconds", "B": "bytes"}


class Key(NamedTuple):
    """Identifies a tracked value.

    Attributes:
        benchmark: its name, as asv writes it: ``gradient.variance_logits_after_0``.
        parameters: estimator and task, or the parameters of any asv benchmark.
        place: machine and environment, where they are told apart.
    """

    benchmark: str
    parameters: tuple[str, ...] = ()
    place: str = ""


@dataclass(frozen=True)
class TrackedValue:
    """One tracked value.

    Args:
        value: the value.
        low: lower end of its 95 % interval, NaN where there is none.
        high: upper end.
        samples: independent values behind it, by seed for instance.
        status: ``ok``, ``not applicable`` or ``failed``.
        error: the reason where it is not ``ok``.
        version: values of different versions are not comparable.
        unit: as asv names it.
        n: replicates, blocks or examples behind it.
    """

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    samples: tuple[float, ...] = ()
    status: str = "ok"
    error: str = ""
    version: str = "1"
    unit: str = "unit"
    n: int = 1


TrackedValues: TypeAlias = dict[Key, TrackedValue]


def of_run(source: Path) -> TrackedValues:
    """The values of a run, by its folder or its ``results.parquet``.

    Raises:
        UserError: there are no such results.
    """
    rows = read_results(source)
    rows = rows.assign(label=[_label(*pair) for pair in zip(rows["estimator"], rows["params"], strict=True)])
    good = rows[(rows["status"] == "ok") & (rows["metric"] != "")]
    metrics = declared.of_run(source)
    found = _tracked_values(pd.concat([_renamed(good, metrics), _errors(good)], ignore_index=True))
    bad = rows[(rows["status"] != "ok") & (rows["metric"] == "")]
    return spread_failures(found | _missing(bad), {key.benchmark for key in found})


def device(source: Path) -> str:
    """The device of a run."""
    return str(read_results(source)["device"].iloc[0])


def machine(source: Path) -> str:
    """Processor and GPU of a run, by its folder or its ``results.parquet``; empty where they are not recorded.

    Raises:
        UserError: what is recorded is not what a run writes.
    """
    folder = RunFolder.of(source)
    if not folder.recorded():
        return ""
    info = folder.info()
    return ", ".join(filter(None, (info.cpu, info.gpu)))


def spread_failures(tracked_values: TrackedValues, benchmarks: Iterable[str]) -> TrackedValues:
    """Replaces a failure of a whole measure (such as ``training``) by failures of all benchmarks of the measure."""
    whole = {
        key: tracked for key, tracked in tracked_values.items() if "." not in key.benchmark and tracked.status != "ok"
    }
    found = {key: tracked for key, tracked in tracked_values.items() if key not in whole}
    for key, tracked in whole.items():
        names = [name for name in sorted(set(benchmarks)) if name.startswith(f"{key.benchmark}.")]
        for name in names or [key.benchmark]:
            # one seed's failure must not hide behind the others
            found[key._replace(benchmark=name)] = tracked
    return found


def _label(estimator: str, params: str) -> str:
    try:
        return str(Spec(estimator, json.loads(params)))
    except (TypeError, ValueError, AttributeError):
        return f"{estimator}[{params}]"


def _renamed(rows: pd.DataFrame, metrics: Metrics) -> pd.DataFrame:
    """Rows of tracked metrics, with the name of their benchmark, and turned so that lower is better."""
    parts = [
        _turned(own, metrics.find(str(measure), str(metric)))
        for (measure, metric), own in rows.groupby(["measure", "metric"], sort=False)
    ]
    return pd.concat([part for part in parts if len(part)] or [rows.iloc[:0].assign(benchmark="", version="")])


def _turned(rows: pd.DataFrame, quantity: Quantity) -> pd.DataFrame:
    """The rows of a metric as they are tracked; none where it is not tracked.

    A metric of groups is tracked at every step that it was measured at, others at their last. Where higher is better,
    a positive quantity becomes its inverse, and others their negative.
    """
    declared = quantity.declared
    if not (declared.tracked and declared.better):
        return rows.iloc[:0]
    if not declared.group:
        rows = rows[rows["step"] == rows.groupby(["task", "label", "seed"])["step"].transform("max")]
    rows, name = rows.copy(), quantity.key
    ends = rows[["value", "high", "low"]].to_numpy()
    if declared.better == "higher" and declared.log:
        rows[["value", "low", "high"]], name = 1 / ends, f"inverse_{name}"
    elif declared.better == "higher":
        rows[["value", "low", "high"]], name = -ends, f"negative_{name}"
    after = bool(declared.group) or quantity.by_seeds
    steps = rows["step"].astype(str)
    benchmark = f"{quantity.measure}.{name}" + ("_after_" + steps if after else "")
    return rows.assign(metric=name, benchmark=benchmark, version="1")


def _errors(rows: pd.DataFrame) -> pd.DataFrame:
    """Squared error of the mean of the replicates: squared bias, whose estimate may be negative, plus its noise."""
    gradient = rows[rows["measure"] == "gradient"]
    parts = gradient["metric"].astype(str).str.split("/", n=1, expand=True).reindex(columns=[0, 1])
    gradient = gradient.assign(quantity=parts[0], group=parts[1])
    cell = ["task", "label", "seed", "step", "group"]
    bias = gradient[gradient["quantity"] == "squared_bias"]
    noise = gradient.loc[gradient["quantity"] == "variance", [*cell, "value"]].rename(columns={"value": "noise"})
    both = bias.merge(noise, on=cell)
    for column in ("value", "low", "high"):
        both[column] += both["noise"] / both["n"]
    metric = "error/" + both["group"].astype(str)
    benchmark = "gradient." + metric + "_after_" + both["step"].astype(str)
    return both.assign(metric=metric, benchmark=benchmark, version="1 n=" + both["n"].astype(str))


def _tracked_values(rows: pd.DataFrame) -> TrackedValues:
    found: TrackedValues = {}
    for columns, cell in rows.groupby(["label", "task", "measure", "metric", "benchmark"]):
        label, task, measure, metric, benchmark = map(str, columns)
        if cell["seed"].duplicated().any():
            raise UserError(f"{label} on {task} has two results of {metric}: track runs with one {measure} each")
        name = re.sub(r"[^A-Za-z0-9_.]", "_", benchmark)
        found[Key(name, (label, task))] = _tracked(cell.sort_values("seed"))
    return found


def _tracked(cell: pd.DataFrame) -> TrackedValue:
    """One seed keeps its own interval; several are samples."""
    first = cell.iloc[0]
    samples = tuple(max(float(value), FLOOR) if value > -FLOOR else float(value) for value in cell["value"])
    low, high = (max(float(first[end]), FLOOR) if len(cell) == 1 else math.nan for end in ("low", "high"))
    unit = _UNITS.get(first["unit"], first["unit"] or "unit")
    value = float(pd.Series(samples).median())
    version, n = str(first["version"]), int(first["n"])
    if not value > 0:
        reason = f"{value:.4g} is not positive, so that asv cannot track it"
        return TrackedValue(status="not applicable", error=reason, version=version)
    return TrackedValue(value, low, high, samples, version=version, unit=unit, n=n)


def _missing(rows: pd.DataFrame) -> TrackedValues:
    cells = rows.sort_values("status", key=lambda status: status == "failed")
    return {
        Key(str(row.measure), (str(row.label), str(row.task))): TrackedValue(
            status=str(row.status), error=str(row.error)
        )
        for row in cells.itertuples()
    }
