"""Findings: sentences that follow from the tests."""

import math

import numpy as np
import pandas as pd

from estbench.core.metrics import Quantity
from estbench.measures.metrics.gradient import OWN
from estbench.report.model.quantities import RELATIVE_BIAS, STEP_TIME, VARIANCE
from estbench.report.model.significance import against
from estbench.report.model.study import Study
from estbench.report.text.formatting import decimals_for, fixed, listing, number
from estbench.report.text.tables import samples, scale_for
from estbench.stats import SIGNIFICANCE, Interval, PairedTests, mean_interval, ratio, seeds_needed

RESOLVED = 0.25


def answers(study: Study, task: str) -> list[str]:
    """Sentences about a task, the most important first: the objective, the variance, the bias."""
    quantity = study.objective(task)
    found = [_objective(study, task, quantity)] if quantity else []
    found += [_variance(study, task), *_bias(study, task), _unresolved(study, task), _time(study, task)]
    found += [_told(study, task, each) for each in study.quantities_of(task) if each.declared.told and each.better]
    found += [_method(study, task, quantity.key)] if quantity else []
    return [sentence for sentence in found if sentence] or _alone(study, task)


def _alone(study: Study, task: str) -> list[str]:
    """A sentence for a task with a single estimator."""
    own = study.estimates[(study.estimates["task"] == task) & ~study.estimates["reference"]]
    labels = own.loc[own["value"].notna(), "label"].unique()
    return [f"Only {labels[0]} has values here: there is nothing to compare it with."] if len(labels) == 1 else []


def _objective(study: Study, task: str, quantity: Quantity) -> str:
    column = study.contestants(task, quantity.key)
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


def _method(study: Study, task: str, key: str) -> str:
    """A sentence on how training runs were compared, if they were."""
    if len(study.contestants(task, key)) < 2:
        return ""
    return method(study.paired(task, key).tests)


def method(tests: PairedTests) -> str:
    """A sentence on the test by which training runs were compared."""
    if not tests.tests:
        return ""
    pairs = f"{tests.tests} pairs" if tests.tests > 1 else "one pair"
    if tests.exact:
        return f"Tested by flipping the signs of paired differences over {tests.seeds} seeds, {pairs}, Holm-corrected."
    return (
        f"Tested by Student's paired test over {tests.seeds} seeds, which takes differences between seeds for normal; "
        f"a test without that assumption needs {seeds_needed(tests.tests)} seeds for {pairs}."
    )


def _told(study: Study, task: str, quantity: Quantity) -> str:
    """A sentence on the best estimator by a metric, with its value unless others are tied."""
    column = study.contestants(task, quantity.key).dropna(subset=["value"])
    if len(column) < 2:
        return ""
    order = column.sort_values("value", ascending=quantity.better == "lower", kind="stable")
    title, best = quantity.title, str(order.index[0])
    ties = [str(label) for label in order.index[order["tied"]]]
    if len(ties) == len(order):
        return f"{title}: no difference was found between {listing(ties)}."
    extreme = "lowest" if quantity.better == "lower" else "highest"
    scale, unit = scale_for(column["value"], quantity)
    first, second = (f"{number(value / scale)} {unit}".strip() for value in order["value"].iloc[:2])
    if not ties:
        return f"{title}: {best} has the {extreme} ({first}), which was not tested for want of intervals or seeds."
    if len(ties) > 1:
        return (
            f"{title}: no difference was found between {listing(ties)}, which have the {extreme}; "
            f"{_others(len(order) - len(ties))} told apart from {best} ({SIGNIFICANCE * 100:.0f} %, Holm-corrected)."
        )
    return f"{title}: {best} has the {extreme} ({first}); the next is {order.index[1]} ({second})."


def _named(quantity: Quantity) -> str:
    return quantity.title[0].lower() + quantity.title[1:]


def _others(count: int) -> str:
    return "the other is" if count == 1 else f"the other {count} are"


def _gap(study: Study, task: str, quantity: Quantity, best: str, second: str) -> str:
    paired = study.paired(task, quantity.key)
    gap = mean_interval(paired.differences(second, best) * (1 if quantity.better == "lower" else -1))
    decimals = decimals_for(gap.low, gap.high)
    interval = f"{fixed(gap.low, decimals)} to {fixed(gap.high, decimals)}"
    p = paired.p(best, second)
    return f"{fixed(gap.value, decimals)} (95 % interval {interval}; p = {p:.2g}, Holm-corrected)"


def _bias(study: Study, task: str) -> list[str]:
    column = study.contestants(task, RELATIVE_BIAS.key).dropna(subset=["value", "low", "high"])
    found = column[column["low"] > 0].sort_values("value", ascending=False, kind="stable")
    none = column[column["low"] <= 0]
    sentences = []
    if len(found):
        values = zip(map(str, found.index), found["value"] * 100, strict=True)
        sizes = [f"{label} ({number(value, 2)} %)" for label, value in values]
        sentences.append(f"Bias relative to the gradient's length: {listing(sizes)}.")
    resolved, vague = none[none["high"] <= RESOLVED], none[none["high"] > RESOLVED]
    if len(resolved):
        where = f"it is below the resolution of {samples(resolved['n'])}, which is {_most(resolved)} % or finer"
        sentences.append(f"No bias was found in {_names(resolved)}: {where}.")
    if len(vague):
        where = f"a bias up to {_most(vague)} % is below the resolution of {samples(vague['n'])}"
        sentences.append(f"Too noisy to tell: {_names(vague)}, where {where}.")
    return sentences


def _names(column: pd.DataFrame) -> str:
    return listing(list(map(str, column.index)))


def _most(column: pd.DataFrame) -> str:
    return number(100 * float(column["high"].max()), 2)


def _unresolved(study: Study, task: str) -> str:
    """A sentence on estimators with too few replicates, and how many would be needed."""
    troubles = study.troubles[(study.troubles["task"] == task) & (study.troubles["status"] == "unresolved")]
    labels = list(dict.fromkeys(troubles["label"].astype(str)))
    if not labels:
        return ""
    rows = study.rows
    asked = rows["metric"].str.removeprefix(OWN).str.startswith("replicates_needed/")
    most = rows.loc[(rows["task"] == task) & asked, "value"].max()
    enough = "" if math.isnan(most) else f"; gradient[replicates={most:.0f}] would tell, or --precision"
    return f"Not resolved, as the gradient hangs on a few replicates: {listing(labels)}{enough}."


def _variance(study: Study, task: str) -> str:
    column = study.contestants(task, VARIANCE.key).dropna(subset=["value"])
    bias = study.contestants(task, RELATIVE_BIAS.key)
    fair = column[column.index.isin(bias.index[bias["low"] <= 0])]
    exact = [str(label) for label in fair.index[fair["value"] == 0]]
    noisy = fair[fair["value"] > 0].sort_values("value", kind="stable")
    silent = f"{listing(exact)} {'has' if len(exact) == 1 else 'have'} no variance. " if exact else ""
    if len(noisy) < 2:
        return silent.strip()
    best = str(noisy.index[0])
    p = against(noisy, 0)
    ties = [str(label) for label, value in zip(noisy.index, p, strict=True) if value >= SIGNIFICANCE]
    among = f"Among the {'other ' if exact else ''}estimators with no bias found"
    if ties:
        return f"{silent}{among}, {listing([best, *ties])} vary least, and no difference was found between them."
    return f"{silent}{among}, {best} varies least, {_factor(noisy)} less than {noisy.index[1]}."


def _factor(order: pd.DataFrame) -> str:
    """The ratio of the first to the second, with an interval."""
    first, second = (Interval(*(float(row[key]) for key in Interval._fields)) for _, row in order.iloc[:2].iterrows())
    found = ratio(second, first)
    if math.isnan(found.low):
        return f"{found.value:.2f} times"
    return f"{found.value:.2f} times (95 % interval {found.low:.2f} to {found.high:.2f})"


def _time(study: Study, task: str) -> str:
    order = study.contestants(task, STEP_TIME.key).dropna(subset=["value"]).sort_values("value", kind="stable")
    if len(order) < 2 or order["value"].iloc[0] <= 0:
        return ""
    ties = [str(label) for label in order.index[order["tied"]]] or [str(order.index[0])]
    values = np.asarray(order["value"])
    fastest = f"{listing(ties)} {'takes' if len(ties) == 1 else 'take'} least per step"
    slowest = f"{order.index[-1]} takes {number(values[-1] / values[0], 2)} times that"
    return f"Time: {fastest} ({number(1e3 * values[0])} ms); {slowest}."
