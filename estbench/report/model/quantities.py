"""The columns of the tables: the rows of the results that belong to each, and their values over all seeds."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from estbench.core.metrics import Metric, Metrics, Quantity
from estbench.measures.metrics import BUILT_IN
from estbench.measures.metrics.gradient import OWN
from estbench.report.model.intervals import KEYS, averaged, products, root_mean_square, student
from estbench.report.model.rows import measured
from estbench.stats import SIGNIFICANCE, combined, holm


def _built_in(measure: str, column: str) -> Quantity:
    """A column of a built-in measure, for code that needs this particular metric."""
    metric = next(metric for metric in BUILT_IN.declared[measure] if metric.column == column)
    return Quantity(column, measure, metric.title, metric.about, metric.test, metric)


RELATIVE_BIAS = _built_in("gradient", "relative_bias")
VARIANCE = _built_in("gradient", "variance")
WORK = _built_in("gradient", "work_variance")
STEP_TIME = _built_in("speed", "step_time")
PEAK_MEMORY = _built_in("speed", "peak_memory")
TRAINING = "training"


def _target(key: str, title: str, unit: str, what: str) -> Quantity:
    """A column that the report computes from training runs."""
    about = f"{what} until the objective first reaches the target: mean over seeds, Student's interval."
    return Quantity(key, TRAINING, title, about, "", Metric(key, title, unit, "lower", log=True, interval="seeds",
                    show="asked", told=False, tracked=False))  # fmt: skip


STEPS_TO_TARGET = _target("steps_to_target", "Steps to target", "", "Training steps")
SECONDS_TO_TARGET = _target("seconds_to_target", "Time to target", "s", "Seconds of training")


@dataclass(frozen=True)
class Columns:
    """The columns of results.

    Args:
        quantities: in the order of the tables.
        rows: the rows that have a value of a column, with its key as ``quantity``.
        tests: the rows with p-values, with the key of the column that they test as ``quantity``.
    """

    quantities: tuple[Quantity, ...]
    rows: pd.DataFrame
    tests: pd.DataFrame

    @classmethod
    def of(cls, rows: pd.DataFrame, metrics: Metrics) -> "Columns":
        """Gives every row to the first column of its measure that takes it."""
        found: list[Quantity] = []
        parts, tests = [], []
        for measure in _measures(rows, metrics):
            own = measured(rows, measure).assign(quantity="")
            taken = pd.Series(data=False, index=own.index)
            names = {quantity.key for quantity in found}
            for quantity, fits in _columns(measure, own, metrics):
                chosen = fits & ~taken
                if not (chosen.any() or quantity.declared.product):
                    continue
                taken |= chosen
                # two measures may have metrics with the same name
                key = f"{measure}/{quantity.key}" if quantity.key in names else quantity.key
                found.append(replace(_by_seeds(quantity, own[chosen]), key=key))
                parts.append(own[chosen].assign(quantity=key))
                tests.append(_tests(own, own[chosen], quantity).assign(quantity=key))
        empty = rows.iloc[:0].assign(quantity="")
        return cls(tuple(found), pd.concat(parts or [empty]), pd.concat(tests or [empty]))


def _measures(rows: pd.DataFrame, metrics: Metrics) -> list[str]:
    """The measures that have rows, built-in ones first."""
    there = list(dict.fromkeys(rows["measure"]))
    known = [*BUILT_IN.declared, *metrics.declared]
    return [name for name in dict.fromkeys([*known, *there]) if name in there]


def _columns(measure: str, rows: pd.DataFrame, metrics: Metrics) -> Iterator[tuple[Quantity, pd.Series]]:
    """The columns that a measure's rows may have, each with the rows that fit, in the order of the declarations."""
    keys = sorted(rows["metric"].unique())
    found = {key: metrics.find(measure, key) for key in keys}
    for metric in metrics.declared.get(measure, ()):
        if metric.product:
            yield metric.of(measure, metric.key), rows["metric"] == ""
        elif metric.show != "none" and metric.group:
            quantity = Quantity(metric.column, measure, metric.title, metric.about, metric.test, metric)
            yield quantity, grouped(rows, metric)
        elif metric.show != "none":
            for key in keys:
                # rows that do not fit into the column of a preferred group may have their own column
                if metric.match(key) is not None and (found[key].declared == metric or found[key].declared.group):
                    yield metric.of(measure, key), rows["metric"] == key
    for key in keys:
        if not any(metric.match(key) is not None for metric in metrics.declared.get(measure, ())):
            yield found[key], rows["metric"] == key


def _by_seeds(quantity: Quantity, rows: pd.DataFrame) -> Quantity:
    """The quantity; if its rows have no intervals, with the interval over seeds."""
    if quantity.declared.interval != "own" or not len(rows) or rows["low"].notna().any():
        return quantity
    return replace(quantity, declared=replace(quantity.declared, interval="seeds"))


def grouped(rows: pd.DataFrame, metric: Metric) -> pd.Series:
    """The rows of a metric, in the preferred group of each task or else in its first group."""
    groups = {key: next(iter(match.values())) for key in rows["metric"].unique() if (match := metric.match(key))}
    group = rows["metric"].map(groups)
    preferred = group.groupby(rows["task"]).agg(lambda own: _preferred(own, metric.group))
    return group.notna() & (group == rows["task"].map(preferred))


def _preferred(groups: pd.Series, wanted: str) -> str:
    there = sorted(groups.dropna().unique())
    return wanted if wanted in there else next(iter(there), "")


def _tests(rows: pd.DataFrame, chosen: pd.DataFrame, quantity: Quantity) -> pd.DataFrame:
    """The rows with the p-values of a column's rows."""
    if not quantity.test:
        return rows.iloc[:0]
    keys = chosen[["task", "metric"]].drop_duplicates()
    tested = {(task, _test_key(quantity, metric)) for task, metric in keys.itertuples(index=False)}
    pairs = pd.Series(list(zip(rows["task"], rows["metric"], strict=True)), index=rows.index, dtype=object)
    return rows[pairs.isin(tested)]


def _test_key(quantity: Quantity, key: str) -> str:
    return quantity.declared.of(quantity.measure, key).test


def estimates(columns: Columns) -> pd.DataFrame:
    """One row per task, estimator and quantity: its value and interval over all seeds."""
    rows = columns.rows
    common = rows[~rows["quantity"].isin(_keys(columns, lambda quantity: quantity.by_seeds))]
    steps = _last_steps(common)
    common, tests = _at(common, steps), _at(columns.tests, steps)
    bound, none = (common["quantity"].isin(_keys(columns, test)) for test in (_is_bound, _has_none))
    biases = _unconfirmed(root_mean_square(common[bound]), tests)
    plain = averaged(common[~bound & ~none])
    ranges = averaged(common[none]).assign(low=np.nan, high=np.nan)
    tables = [biases, plain, ranges, student(final(columns))]
    found = pd.concat([table for table in tables if len(table)] or [plain], ignore_index=True)
    return pd.concat([found, *_products(columns, found)], ignore_index=True)


def _keys(columns: Columns, wanted: Callable[[Quantity], bool]) -> list[str]:
    return [quantity.key for quantity in columns.quantities if wanted(quantity)]


def _is_bound(quantity: Quantity) -> bool:
    return quantity.is_bound


def _has_none(quantity: Quantity) -> bool:
    return quantity.declared.interval == "none"


def _products(columns: Columns, found: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for quantity in columns.quantities:
        parts = [found[found["quantity"] == key] for key in quantity.declared.product]
        if parts and all(len(part) for part in parts):
            first, *others = parts
            for other in others:
                first = products(first, other, quantity.key)
            if len(first):
                yield first


def _last_steps(rows: pd.DataFrame) -> dict[tuple[str, str], float]:
    """By measure and task, the last of the steps at which the most estimators were measured."""
    counts = rows.groupby(["measure", "task", "step"])["label"].nunique().reset_index()
    chosen = counts.sort_values(["label", "step"]).groupby(["measure", "task"])["step"].last()
    places = chosen.reset_index()[["measure", "task", "step"]].itertuples(index=False)
    return {(str(measure), str(task)): float(step) for measure, task, step in places}


def _at(rows: pd.DataFrame, steps: Mapping[tuple[str, str], float]) -> pd.DataFrame:
    """The rows at these steps of their measure and task."""
    places = zip(rows["measure"], rows["task"], strict=True)
    return rows[rows["step"] == pd.Series([steps.get(place) for place in places], rows.index, dtype=float)]


def _unconfirmed(biases: pd.DataFrame, tests: pd.DataFrame) -> pd.DataFrame:
    """Biases; their intervals begin at 0 if the test of no bias does not reject, Holm-corrected over a task.

    Among many unbiased estimators, some intervals would not reach down to 0 by chance.
    """
    for (task, quantity), found in tests.groupby(["task", "quantity"]):
        p = {str(label): combined(each["value"].to_numpy(dtype=float)) for label, each in found.groupby("label")}
        adjusted = dict(zip(p, holm([*p.values()]), strict=True))
        none = biases["label"].map(adjusted).ge(SIGNIFICANCE)
        none &= biases["task"].eq(str(task)) & biases["quantity"].eq(str(quantity))
        biases.loc[none, "low"] = 0.0
    return biases


def final(columns: Columns) -> pd.DataFrame:
    """The last value of each seed, for the columns whose interval is over seeds."""
    rows = columns.rows[columns.rows["quantity"].isin(_keys(columns, lambda quantity: quantity.by_seeds))]
    rows = rows.sort_values("step", kind="stable")
    return rows.groupby([*KEYS, "seed"], sort=False).tail(1)


def points(rows: pd.DataFrame, *, own: bool = False) -> pd.DataFrame:
    """The variances at all points of a training run: that of the baseline, or each estimator's own."""
    metric = next(m for m in BUILT_IN.declared["gradient"] if m.column == VARIANCE.key)
    rows = measured(rows, "gradient")
    wanted = replace(metric, key=f"{OWN}{metric.key}") if own else metric
    return rows[grouped(rows, wanted)]


def described(estimates: pd.DataFrame, columns: Columns) -> tuple[Quantity, ...]:
    """The columns for which there are estimates, in the order of the tables."""
    known: Mapping[str, Quantity] = {
        quantity.key: quantity for quantity in (*columns.quantities, STEPS_TO_TARGET, SECONDS_TO_TARGET)
    }
    there = set(estimates["quantity"])
    return tuple(quantity for key, quantity in known.items() if key in there)
