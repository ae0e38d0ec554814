"""Findings: sentences that follow from the tests."""

import math

import numpy as np
import pandas as pd

from estbench.core.metrics import Quantity
from estbench.measures.metrics.gradient import OWN
from estbench.report.model.quantities import RELATIVE_BIAS, STEP_TIME, VARIANCE
from estbench.report.model.significance import Paired, compare_with_best
from estbench.report.model.study import Study
from estbench.report.text.formatting import listing, number, probability, with_interval
from estbench.report.text.recommendation import gap_words, recommendation, title_in_sentence
from estbench.report.text.tables import samples, scale_for
from estbench.stats import SIGNIFICANCE

RESOLVED = 0.25


def answers(study: Study, task: str) -> list[str]:
    """Sentences about a task, the most important first: which estimator to use, then what was found of each metric."""
    quantity = study.objective(task)
    first = recommendation(study, task)
    found = [_objective(study, task, quantity)] if quantity else []
    found += [_variance(study, task), *_bias(study, task), _unresolved(study, task), _time(study, task)]
    found += [_told(study, task, each) for each in study.quantities_of(task) if each.declared.told and each.better]
    found += [_method(study, task, quantity.key)] if quantity else []
    return [sentence for sentence in (*first, *found) if sentence] or _alone(study, task)


def _alone(study: Study, task: str) -> list[str]:
    """A sentence for a task with a single estimator."""
    own = study.estimates[(study.estimates["task"] == task) & ~study.estimates["reference"]]
    labels = own.loc[own["value"].notna(), "label"].unique()
    return [f"Only {labels[0]} has values here: there is nothing to compare it with."] if len(labels) == 1 else []


def _objective(study: Study, task: str, quantity: Quantity) -> str:
    """A sentence on who ended best where no test could be made or values are missing, and else on the next best."""
    column = study.contestants(task, quantity.key).dropna(subset=["value"])
    if len(column) < 2:
        return ""
    order = column.sort_values("value", ascending=quantity.better == "lower", kind="stable")
    best, value = str(order.index[0]), number(order["value"].iloc[0], 5)
    if not order["tied"].any():
        if study.partial(task, quantity.measure):
            return f"Training: so far {best} has the best {title_in_sentence(quantity)} ({value})."
        ended = f"{best} ended best ({title_in_sentence(quantity)} {value})"
        return f"Training: {ended}, but a single seed shows no certainty."
    if order["tied"].sum() > 1:
        return ""
    second = order.iloc[1]
    return f"Training: the next best, {second.name}, is {gap_words(second)} (adjusted p {probability(second['p'])})."


def _method(study: Study, task: str, key: str) -> str:
    """A sentence on how training runs were compared, if they were."""
    return method(study.paired(task, key))


def method(paired: Paired) -> str:
    """A sentence on the test by which training runs were compared."""
    if not paired.tested():
        return ""
    others = len(paired.labels) - 1
    all_of = f"for all {others} comparisons" if others > 1 else "for the one comparison"
    return (
        f"Intervals and p-values of differences to the best hold {all_of} with the best at once (Edwards & Hsu 1983): "
        f"Student's, over {paired.seeds} seeds in pairs, whose differences are taken as normal."
    )


def _told(study: Study, task: str, quantity: Quantity) -> str:
    """A sentence on the best estimator by a metric, with its value unless others are tied."""
    column = study.contestants(task, quantity.key).dropna(subset=["value"])
    if len(column) < 2 or study.partial(task, quantity.measure):
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
            f"{_others(len(order) - len(ties))} told apart from them ({SIGNIFICANCE * 100:.0f} %, adjusted)."
        )
    return f"{title}: {best} has the {extreme} ({first}); the next is {order.index[1]} ({second})."


def _others(count: int) -> str:
    return "the other is" if count == 1 else f"the other {count} are"


def _bias(study: Study, task: str) -> list[str]:
    column = study.contestants(task, RELATIVE_BIAS.key).dropna(subset=["value", "low", "high"])
    found = column[column["low"] > 0].sort_values("value", ascending=False, kind="stable")
    none = column[column["low"] <= 0]
    sentences = []
    if len(found):
        values = zip(map(str, found.index), found["value"] * 100, strict=True)
        sizes = [f"{label} ({number(value, 2)} %)" for label, value in values]
        sentences.append(f"Bias relative to the gradient's length: {listing(sizes)}.")
    if len(wrong := found[found["declared"] == "unbiased"]):
        sentences.append(f"Declared unbiased, but with a bias that was found: {_names(wrong)}.")
    resolved, vague = none[none["high"] <= RESOLVED], none[none["high"] > RESOLVED]
    if len(resolved):
        where = f"it is below the resolution of {samples(resolved['n'])}, which is {_most(resolved)} % or finer"
        sentences.append(f"No bias was found in {_names(resolved)}: {where}.")
    if len(hidden := none[none["declared"] == "biased"]):
        sentences.append(f"Declared biased, though these replicates did not show it: {_names(hidden)}.")
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
    """A sentence on which unbiased estimators vary least; unbiased by what they declare, else by what was measured."""
    column = study.contestants(task, VARIANCE.key).dropna(subset=["value"])
    bias = study.contestants(task, RELATIVE_BIAS.key)
    none = column.index.isin(bias.index[bias["low"] <= 0])
    declared = bool((column["declared"] != "").all())
    fair = column[column["declared"] == "unbiased"] if declared else column[none & (column["declared"] != "biased")]
    if study.partial(task, VARIANCE.measure):
        return ""
    exact = [str(label) for label in fair.index[fair["value"] == 0]]
    noisy = fair[fair["value"] > 0].sort_values("value", kind="stable")
    silent = f"{listing(exact)} {'has' if len(exact) == 1 else 'have'} no variance. " if exact else ""
    if len(noisy) < 2:
        return silent.strip()
    best = str(noisy.index[0])
    marks = compare_with_best(noisy, VARIANCE)
    ties = [str(label) for label in marks.index[marks["tied"]]] if len(marks) else []
    among = (
        f"Among the {'other ' if exact else ''}{'unbiased estimators' if declared else 'estimators with no bias found'}"
    )
    if len(ties) > 1:
        return f"{silent}{among}, {listing(ties)} vary least, and no difference was found between them."
    lead = np.exp(marks.loc[best, ["gap", "gap_low", "gap_high"]].astype(float)) if ties else [noisy["value"].iloc[1]]
    factor = with_interval(*lead) if ties else number(noisy["value"].iloc[1] / noisy["value"].iloc[0], 3)
    return f"{silent}{among}, {best} varies least: the next, {noisy.index[1]}, varies {factor} times as much."


def _time(study: Study, task: str) -> str:
    order = study.contestants(task, STEP_TIME.key).dropna(subset=["value"]).sort_values("value", kind="stable")
    if len(order) < 2 or order["value"].iloc[0] <= 0:
        return ""
    ties = [str(label) for label in order.index[order["tied"]]] or [str(order.index[0])]
    values = np.asarray(order["value"])
    fastest = f"{listing(ties)} {'takes' if len(ties) == 1 else 'take'} least per step"
    slowest = f"{order.index[-1]} takes {number(values[-1] / values[0], 2)} times that"
    return f"Time: {fastest} ({number(1e3 * values[0])} ms); {slowest}."
