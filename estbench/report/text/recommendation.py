"""The answer to a reader's question: which estimator to use, how sure that is, what it costs, and what is missing."""

import math
from dataclasses import dataclass

import pandas as pd

from estbench.core.metrics import Quantity
from estbench.report.model.quantities import PEAK_MEMORY, RELATIVE_BIAS, STEP_TIME, VARIANCE, WORK
from estbench.report.model.study import Study
from estbench.report.text.formatting import behind, listing, number
from estbench.report.text.tables import scale_for
from estbench.stats import SIGNIFICANCE, pooled_deviation, seeds_to_see, visible_difference

_LEVEL = f"{SIGNIFICANCE * 100:.0f} %, adjusted for all comparisons"


@dataclass(frozen=True)
class Choice:
    """The estimator that a task's results speak for.

    Args:
        label: the estimator.
        ties: those that are not told apart from the best, it among them, best first.
        others: those that are worse.
        quantity: what they are compared by.
        reason: why it is chosen of several that are not told apart; empty if there is one.
    """

    label: str
    ties: list[str]
    others: list[str]
    quantity: Quantity
    reason: str


def choice(study: Study, task: str) -> Choice | None:
    """The estimator to use; None where no test says anything about any.

    It is chosen by the objective at the end of training, or else by the variance of a second's work, or the variance.
    Of those that are not told apart from the best, unbiased ones are preferred, and of these the one with the
    least variance of a second's work, or else the fastest.
    """
    for quantity in (study.objective(task), WORK, VARIANCE):
        column = study.contestants(task, quantity.key) if quantity else pd.DataFrame({"tied": []})
        if quantity and column["tied"].any():
            order = column.sort_values("value", ascending=quantity.better == "lower", kind="stable")
            ties = [str(label) for label in order.index[order["tied"]]]
            label, reason = _preferred(study, task, ties)
            compared = order.index[order["p"].notna() & ~order["tied"]]
            return Choice(label, ties, [str(each) for each in compared], quantity, reason)
    return None


def _preferred(study: Study, task: str, ties: list[str]) -> tuple[str, str]:
    """One of several estimators that are not told apart, and the reason."""
    if len(ties) == 1:
        return ties[0], ""
    unbiased = [label for label in ties if study.declared[label].bias == "unbiased"]
    among = unbiased or ties
    fair = " and is declared unbiased" if unbiased and len(unbiased) < len(ties) else ""
    of = "of those that are declared unbiased" if fair else "of these"
    # where a training is too short to tell, gradients do: a fast step of a noisy gradient is no advantage
    for quantity, said in ((WORK, "has the least variance times time"), (STEP_TIME, "takes the least time per step")):
        values = study.contestants(task, quantity.key)["value"].reindex(among)
        if values.notna().all():
            return str(values.idxmin()), f"{of} it {said}"
    return among[0], f"{of} it has the best value"


def recommendation(study: Study, task: str) -> list[str]:
    """Sentences on which estimator to use, how sure that is, what it costs, and whether it is biased."""
    absent = incomplete(study, task)
    found = choice(study, task)
    if found is None:
        return absent
    return [
        *absent,
        _use(study, task, found),
        *_sure(study, task, found),
        *_cost(study, task, found.label),
        *_bias(study, task, found.label),
    ]


def incomplete(study: Study, task: str) -> list[str]:
    """A sentence on what is missing, so that nobody is called best by it; none if nothing is."""
    own = study.missing[study.missing["task"] == task]
    if own.empty:
        return []
    parts = []
    for (measure, reason), rows in own.groupby(["measure", "reason"], sort=False):
        labels = listing(list(dict.fromkeys(rows["label"].astype(str))))
        some = " for some seeds" if (rows["seeds"] < rows["of"]).all() else ""
        parts.append(f"{measure} {reason}{some} for {labels}".replace("for some seeds for", "for some seeds of"))
    crowned = [measure for measure in dict.fromkeys(own["measure"]) if study.partial(task, str(measure))]
    nobody = f" No estimator is called best by {listing(crowned)}." if crowned else ""
    return [f"Incomplete: {'; '.join(parts)}.{nobody}"]


def _use(study: Study, task: str, found: Choice) -> str:
    name = title_in_sentence(found.quantity)
    column = study.contestants(task, found.quantity.key)
    if len(found.ties) > 1:
        which = f"no difference in {name} was found between {listing(found.ties)}; {found.reason}"
        return f"Use {found.label}: {which}."
    value = number(float(column["value"][found.label]) / scale_for(column["value"], found.quantity)[0], 5)
    among = " among the unbiased estimators" if _only_unbiased(column, found.quantity) else ""
    return f"Use {found.label}: it has the best {name}{among} ({value}), and all others are worse ({_LEVEL})."


def _only_unbiased(column: pd.DataFrame, quantity: Quantity) -> bool:
    """Whether biased estimators did not compete in a column."""
    return quantity.declared.unbiased and bool((column["declared"] == "biased").any())


def _sure(study: Study, task: str, found: Choice) -> list[str]:
    column = study.contestants(task, found.quantity.key)
    sentences = []
    if len(found.ties) > 1:
        what = f"Worse than each of these that may be the best ({_LEVEL}): {listing(found.others)}."
        sentences.append(what if found.others else "No estimator was found to be worse.")
        close = [label for label in found.ties if column.loc[label, "close"]]
        if close:
            margin = _margin(column[column["close"]].iloc[0], found.quantity)
            sentences.append(f"Equally good within {margin}: {listing(close)} and the best.")
    if found.quantity.by_seeds:
        sentences += power(study, task, found)
    return [" ".join(sentences)] if sentences else []


def _margin(row: pd.Series, quantity: Quantity) -> str:
    margin = float(row["margin"])
    return f"{math.expm1(margin) * 100:.2g} %" if row["ratio"] else f"{number(margin, 2)} {quantity.unit}".strip()


def power(study: Study, task: str, found: Choice) -> list[str]:
    """A sentence on the smallest difference that the seeds could have shown, and what more seeds would."""
    paired = study.paired(task, found.quantity.key)
    own = [paired.labels.index(label) for label in found.ties] if len(found.ties) > 1 else slice(None)
    deviation, others = pooled_deviation(paired.runs[:, own]), len(paired.labels) - 1
    smallest = visible_difference(deviation, paired.seeds, others)
    if not (math.isfinite(smallest) and smallest > 0):
        return []
    unit = study.unit(task, found.quantity)
    compared = f"{others} comparisons" if others > 1 else "one comparison"
    said = f"With {paired.seeds} seeds and {compared}, differences below {number(smallest, 2)}{unit} can be missed"
    # a third of it, as rounded as it is told
    aim = float(f"{smallest / 3:.1g}")
    needed = seeds_to_see(aim, deviation, others)
    more = f"; {needed} seeds would show {number(aim, 1)}" if needed else ""
    return [f"{said} (power 80 %){more}."]


def _cost(study: Study, task: str, label: str) -> list[str]:
    times = study.contestants(task, STEP_TIME.key)["value"].dropna()
    memory = study.contestants(task, PEAK_MEMORY.key)["value"].dropna()
    parts = []
    if label in times.index:
        scale, unit = scale_for(times, STEP_TIME)
        least = float(times.min())
        more = f"{number(times[label] / least, 2)} times" if least > 0 else "more than"
        than = "the least of all" if times[label] == least else f"{more} the fastest, {times.idxmin()}"
        parts.append(f"a training step of {label} takes {number(times[label] / scale)} {unit}, {than}")
    if label in memory.index:
        scale, unit = scale_for(memory, PEAK_MEMORY)
        parts.append(f"{'it' if parts else label} needs {number(memory[label] / scale)} {unit} at its peak")
    return [f"Cost: {'; '.join(parts)}."] if parts else []


def _bias(study: Study, task: str, label: str) -> list[str]:
    """What the recommended estimator declares about its bias, and what was measured."""
    said = study.declared[label].words
    parts = [f"{label} is declared {said}"] if said else []
    column = study.contestants(task, RELATIVE_BIAS.key)
    own = column[(column.index == label) & column["high"].notna()]
    if len(own):
        row = own.iloc[0]
        length = "of the gradient's length"
        if row["low"] > 0:
            parts.append(f"a bias of {number(100 * row['value'], 2)} % {length} was measured")
        else:
            most = f", and it is below {number(100 * row['high'], 2)} % {length}" if row["high"] > 0 else ""
            parts.append(f"no bias was found{most}")
    return [f"Bias: {'; '.join(parts)}."] if parts else []


def title_in_sentence(quantity: Quantity) -> str:
    """A metric's title within a sentence."""
    title = quantity.title
    return title if title[:2].isupper() else title[0].lower() + title[1:]


def gap_words(row: pd.Series) -> str:
    """How far an estimator is from the best of the others, in words, from a row of a column."""
    return behind(float(row["gap_low"]), float(row["gap_high"]))
