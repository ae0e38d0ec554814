"""What was found, in sentences that follow from the tests."""

import math

import numpy as np
import pandas as pd
from scipy import stats

from estbench.report.evidence import compare, differences
from estbench.report.intervals import log_error
from estbench.report.quantities import RELATIVE_BIAS, STEP_TIME, VARIANCE, Quantity, final
from estbench.report.study import Study
from estbench.report.text import decimals_for, fixed, listing, number
from estbench.stats import SIGNIFICANCE, holm

RESOLVED = 0.25


def answers(study: Study, task: str) -> list[str]:
    """A few sentences about a task: the objective, bias, variance, time."""
    trained = [quantity for quantity in study.quantities_of(task) if quantity.key.endswith("_test")]
    found = [_objective(study, task, trained[-1])] if trained else []
    found += [*_bias(study, task), _variance(study, task), _time(study, task)]
    return [sentence for sentence in found if sentence]


def _objective(study: Study, task: str, quantity: Quantity) -> str:
    column = study.column(task, quantity.key)
    if len(column) < 2:
        return ""
    order = column.sort_values("value", ascending=quantity.better == "lower", kind="stable")
    best = str(order.index[0])
    ties = [str(label) for label in order.index[order["tied"]]]
    if not ties:
        value = number(order["value"].iloc[0], 5)
        return f"Training: {best} ended best ({_named(quantity)} {value}), but a single seed shows no certainty."
    if len(ties) == len(order):
        return f"Training: no difference in {_named(quantity)} was found between {listing(ties)}."
    if len(ties) > 1:
        return (
            f"Training: no difference in {_named(quantity)} was found between {listing(ties)}; "
            f"{_others(len(order) - len(ties))} worse than {best} ({SIGNIFICANCE * 100:.0f} %, Holm-corrected)."
        )
    gap = _gap(study, task, quantity, best, str(order.index[1]))
    return f"Training: {best} ends with the best {_named(quantity)}; the next, {order.index[1]}, is worse by {gap}."


def _named(quantity: Quantity) -> str:
    return quantity.title[0].lower() + quantity.title[1:]


def _others(count: int) -> str:
    return "the other is" if count == 1 else f"the other {count} are"


def _gap(study: Study, task: str, quantity: Quantity, best: str, second: str) -> str:
    runs = final(study.rows)
    runs = runs[(runs["task"] == task) & (runs["quantity"] == quantity.key)]
    gaps = differences(runs, best)[second] * (1 if quantity.better == "lower" else -1)
    half = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / math.sqrt(len(gaps))
    low, high = float(gaps.mean() - half), float(gaps.mean() + half)
    decimals = decimals_for(low, high)
    p = study.column(task, quantity.key)["p"][second]
    interval = f"{fixed(low, decimals)} to {fixed(high, decimals)}"
    return f"{fixed(float(gaps.mean()), decimals)} (95 % interval {interval}; p = {p:.2g}, Holm-corrected)"


def _bias(study: Study, task: str) -> list[str]:
    column = study.column(task, RELATIVE_BIAS.key).dropna(subset=["value", "low", "high"])
    found = column[column["low"] > 0].sort_values("value", ascending=False, kind="stable")
    none = column[column["low"] <= 0]
    sentences = []
    if len(found):
        values = zip(map(str, found.index), found["value"] * 100, strict=True)
        sizes = [f"{label} ({number(value, 2)} %)" for label, value in values]
        sentences.append(f"Bias relative to the gradient's length: {listing(sizes)}.")
    resolved, vague = none[none["high"] <= RESOLVED], none[none["high"] > RESOLVED]
    if len(resolved):
        sentences.append(f"No bias was found in {_names(resolved)}; one above {_most(resolved)} % would have shown.")
    if len(vague):
        sentences.append(f"Too noisy to tell: {_names(vague)}, where a bias up to {_most(vague)} % could hide.")
    return sentences


def _names(column: pd.DataFrame) -> str:
    return listing(list(map(str, column.index)))


def _most(column: pd.DataFrame) -> str:
    return number(100 * float(column["high"].max()), 2)


def _variance(study: Study, task: str) -> str:
    column = study.column(task, VARIANCE.key).dropna(subset=["value"])
    bias = study.column(task, RELATIVE_BIAS.key)
    fair = column[column.index.isin(bias.index[bias["low"] <= 0])]
    exact = [str(label) for label in fair.index[fair["value"] == 0]]
    noisy = fair[fair["value"] > 0].sort_values("value", kind="stable")
    silent = f"{listing(exact)} {'has' if len(exact) == 1 else 'have'} no variance. " if exact else ""
    if len(noisy) < 2:
        return silent.strip()
    best = str(noisy.index[0])
    p = [math.nan, *holm([compare(row, noisy.iloc[0]) for _, row in noisy.iloc[1:].iterrows()])]
    ties = [str(label) for label, value in zip(noisy.index, p, strict=True) if value >= SIGNIFICANCE]
    among = f"Among the {'other ' if exact else ''}estimators with no bias found"
    if ties:
        return f"{silent}{among}, {listing([best, *ties])} vary least, and no difference was found between them."
    return f"{silent}{among}, {best} varies least, {_factor(noisy)} less than {noisy.index[1]}."


def _factor(order: pd.DataFrame) -> str:
    """How many times the second is the first, with an interval."""
    first, second = ([float(row[key]) for key in ("value", "low", "high")] for _, row in order.iloc[:2].iterrows())
    ratio = second[0] / first[0]
    spread = math.exp(1.96 * math.hypot(log_error(*first), log_error(*second)))
    if math.isnan(spread):
        return f"{ratio:.2f} times"
    return f"{ratio:.2f} times (95 % interval {ratio / spread:.2f} to {ratio * spread:.2f})"


def _time(study: Study, task: str) -> str:
    order = study.column(task, STEP_TIME.key).dropna(subset=["value"]).sort_values("value", kind="stable")
    if len(order) < 2 or order["value"].iloc[0] <= 0:
        return ""
    ties = [str(label) for label in order.index[order["tied"]]] or [str(order.index[0])]
    values = np.asarray(order["value"])
    fastest = f"{listing(ties)} {'takes' if len(ties) == 1 else 'take'} least per step"
    slowest = f"{order.index[-1]} takes {number(values[-1] / values[0], 2)} times that"
    return f"Time: {fastest} ({number(1e3 * values[0])} ms); {slowest}."
