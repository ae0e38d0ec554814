"""The main table of a task, as text with marks, which the output formats only typeset."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from estbench.core.metrics import Quantity
from estbench.errors import shorten
from estbench.report.model.quantities import STEPS_TO_TARGET, TRAINING
from estbench.report.model.rows import shares, steps_remark, tuned
from estbench.report.model.study import Study
from estbench.report.text.formatting import MISSING, decimals_for, fixed, listing, number, plus_minus, probability

MARKS = (
    "equally good: not told apart from the best, and at most 5 % worse (objectives: 1 %); "
    "tied: not told apart from it, but it may be worse (5 %, adjusted for all comparisons with the best)"
)
# the sign of each mark where colours cannot be shown
SIGNS = {"best": " *", "close": " =", "tied": " ~", "": ""}
_SCALES = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "B": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
    "Hz": ((1e9, "GHz"), (1e6, "MHz")),
    "FLOP": ((1e9, "GFLOP"), (1e6, "MFLOP"), (1e3, "kFLOP"), (1.0, "FLOP")),
    "%": ((1e-2, "%"),),
    "": ((1.0, ""),),
}


@dataclass(frozen=True)
class TableCell:
    """One value of a table.

    Args:
        text: the value, readable.
        interval: its interval, readable, or empty.
        brief: the value and half the width of its interval, for narrow tables: ``12.3 ± 0.4``.
        hover: exact value, interval and n, or the reason if there is no value.
        order: what to sort by; NaN where there is no value.
        mark: ``best``, ``close`` to it (not told apart, and at most the stated margin worse), ``tied`` (not told apart,
            but perhaps for want of data), or empty.
        status: ``ok``, ``missing``, ``failed``, ``not applicable`` or ``unresolved``.
    """

    text: str = MISSING
    interval: str = ""
    hover: str = "not measured"
    order: float = math.nan
    mark: str = ""
    status: str = "missing"
    brief: str = MISSING


@dataclass(frozen=True)
class TableRow:
    """One estimator of a table, what it declares of its bias, and notes on what went wrong; references stand below."""

    label: str
    family: str
    cells: list[TableCell]
    notes: list[str]
    reference: bool = False
    declared: str = ""

    @property
    def title(self) -> str:
        """The texts before its values."""
        return f"{self.label} (reference)" if self.reference else self.label


@dataclass(frozen=True)
class Heading:
    """One column of a table."""

    quantity: Quantity
    title: str
    scale: float


@dataclass(frozen=True)
class Table:
    """A task's estimators, best first and references last, with remarks on the values."""

    task: str
    headings: list[Heading]
    rows: list[TableRow]
    remarks: list[str]

    @property
    def declares(self) -> bool:
        """Whether it is known what its estimators declare; results of earlier versions do not say it."""
        return any(row.declared for row in self.rows)

    @property
    def notes(self) -> list[str]:
        """What stands below it where marks are signs: what the signs mean, the remarks, and what went wrong."""
        marks = {cell.mark for row in self.rows for cell in row.cells}
        legend = [f"* best; = {MARKS.replace('tied:', '~ tied:')}"] if "best" in marks else []
        return [*legend, *self.remarks, *(f"{row.label}: {note}" for row in self.rows for note in row.notes)]


def table(study: Study, task: str, columns: Sequence[Quantity] | None = None) -> Table:
    """The main table of a task, ordered by the column of the highest rank; missing values come last.

    Args:
        study: the results.
        task: whose estimators are compared.
        columns: the columns, in their order; by default all that the task has.
    """
    wanted = study.quantities_of(task) if columns is None else columns
    headings = [_heading(study, task, quantity) for quantity in wanted]
    labels = study.labels_of(task)
    values = [_by_label(study.column(task, heading.quantity.key)) for heading in headings]
    rows = [_row(study, task, label, headings, values) for label in labels]
    leading = _leading(headings)
    if leading is not None:
        sign = -1 if headings[leading].quantity.better == "higher" else 1
        rows.sort(key=lambda row: _last_if_nan(sign * row.cells[leading].order))
    rows.sort(key=lambda row: row.reference)
    return Table(task, headings, rows, _remarks(study, task, headings))


def _remarks(study: Study, task: str, headings: list[Heading]) -> list[str]:
    """Sentences that explain bounds and targets in the table."""
    shown = {heading.quantity.key for heading in headings}
    bounds = [heading.quantity.key for heading in headings if heading.quantity.is_bound]
    own = study.estimates[(study.estimates["task"] == task) & study.estimates["quantity"].isin(bounds)]
    hidden = own[(own["low"] <= 0) & (own["high"] > 0)]
    remarks = []
    if len(hidden):
        remarks.append(
            f"A bias given as a bound (<) was not found: it is below the resolution of {samples(hidden['n'])}."
        )
    if oracles := study.references_of(task):
        are = "is the task's oracle and stands" if len(oracles) == 1 else "are the task's oracles and stand"
        remarks.append(f"{listing(oracles)} {are} below as a reference: in no test, never best, and in ink in figures.")
    if STEPS_TO_TARGET.key in shown:
        target = study.targets[task]
        remarks.append(f"Target: {study.metrics.find(TRAINING, target.metric).title} {number(target.value, 5)}.")
    rows = study.rows[study.rows["task"] == task]
    if told := steps_remark(rows):
        remarks.append(f"Trained for {told}, and compared at the end of each training.")
    if told := shares(rows):
        remarks.append(f"Seconds of training are {told}.")
    return remarks


def samples(counts: pd.Series) -> str:
    """A number of samples, or a range of numbers, in words."""
    low, high = f"{counts.min():,.0f}", f"{counts.max():,.0f}"
    return f"{low} samples" if low == high else f"{low} to {high} samples"


def _by_label(column: pd.DataFrame) -> dict[str, pd.Series]:
    known = column[column["value"].notna() | (column["reached"] < column["seeds"])]
    return {str(label): row for label, row in known.iterrows()}


def _leading(headings: list[Heading]) -> int | None:
    """The column that rows are ordered by: the last one of the highest rank, or else the first with a direction."""
    ranks = [heading.quantity.declared.rank for heading in headings]
    if any(ranks):
        return max(range(len(ranks)), key=lambda i: (ranks[i], i))
    return next((i for i, heading in enumerate(headings) if heading.quantity.better), None)


def _last_if_nan(value: float) -> tuple[bool, float]:
    return math.isnan(value), 0.0 if math.isnan(value) else value


def _heading(study: Study, task: str, quantity: Quantity) -> Heading:
    scale, unit = scale_for(study.column(task, quantity.key)["value"], quantity)
    return Heading(quantity, f"{quantity.title}, {unit}" if unit else quantity.title, scale)


def scale_for(values: pd.Series, quantity: Quantity) -> tuple[float, str]:
    """A unit in which these values are short, and its ratio to the quantity's own unit."""
    scales = _SCALES.get(quantity.unit, ((1.0, quantity.unit),))
    middle = float(values[values > 0].median())
    return next((pair for pair in scales if middle >= pair[0]), scales[-1])


def _row(study: Study, task: str, label: str, headings: list[Heading], columns: list[dict[str, pd.Series]]) -> TableRow:
    own = study.troubles[(study.troubles["task"] == task) & (study.troubles["label"] == label)]
    cells = []
    for heading, column in zip(headings, columns, strict=True):
        if label in column:
            cells.append(_cell(heading, column[label]))
        else:
            stopped = (own["measure"] == heading.quantity.measure) & (own["status"] != "note")
            cells.append(_blank(own[stopped]))
    notes = [*_tuned(study, task, label), *_notes(own)]
    reference, declared = (task, label) in study.references, study.declared[label].words
    return TableRow(label, study.families.get(label, ""), cells, notes, reference, declared)


def _tuned(study: Study, task: str, label: str) -> list[str]:
    """The options that were chosen on validation data for this estimator."""
    rows = study.rows
    found = rows.loc[(rows["task"] == task) & (rows["label"] == label), "chosen"]
    chosen = dict.fromkeys(found.map(tuned))
    return [f"chosen on validation: {text}" for text in chosen if text]


def _blank(reasons: pd.DataFrame) -> TableCell:
    """A cell without a value, with the reason."""
    if reasons.empty:
        return TableCell()
    status = str(reasons["status"].iloc[0])
    text = "n/a" if status == "not applicable" else status
    return TableCell(text, hover=". ".join(_notes(reasons)), status=status, brief=text)


def _notes(reasons: pd.DataFrame) -> list[str]:
    """Failures, each once for all measures that it affected, and further remarks."""
    notes = []
    for (status, error), own in reasons.groupby(["status", "error"], sort=False):
        seeds = f" ({own['seeds'].max()} of {own['of'].max()} seeds)" if own["of"].max() > 1 else ""
        measures = listing(list(own["measure"]))
        notes.append(f"{measures} {status}{seeds}: {shorten(str(error), 300) or 'no reason given'}")
    return notes


def _cell(heading: Heading, row: pd.Series) -> TableCell:
    if row["reached"] < row["seeds"]:
        reason = f"the target was reached by {row['reached']:.0f} of {row['seeds']:.0f} seeds"
        hover = f"{heading.title}: {reason}"
        return TableCell("not reached", hover=hover, order=math.inf, brief="not reached")
    value, low, high = (float(row[key]) / heading.scale for key in ("value", "low", "high"))
    mark = next((mark for mark in ("best", "close", "tied") if row[mark]), "")
    if unresolved(heading.quantity, row):
        bound = f"< {number(high, 2)}"
        return TableCell(bound, "below resolution", exact(heading.quantity, row), float(row["high"]), mark, "ok", bound)
    text, interval = _readable(heading.quantity, value, low, high)
    brief = plus_minus(value, low, high) if interval else text
    return TableCell(text, interval, exact(heading.quantity, row), float(row["value"]), mark, "ok", brief)


def unresolved(quantity: Quantity, row: pd.Series) -> bool:
    """Whether a value is a bias that was not found."""
    return quantity.is_bound and bool(row["low"] <= 0 < row["high"])


def _readable(quantity: Quantity, value: float, low: float, high: float) -> tuple[str, str]:
    if low == high:
        return number(value, 1 if value == round(value) and abs(value) < 10 else 3), ""
    if math.isnan(low):
        return number(value, 5 if quantity.by_seeds else 3), ""
    if quantity.by_seeds:
        decimals = decimals_for(low, high)
        return fixed(value, decimals), f"{fixed(low, decimals)} to {fixed(high, decimals)}"
    digits = next((digits for digits in (3, 4) if number(low, digits) != number(high, digits)), 5)
    return number(value, digits), f"{number(low, digits)} to {number(high, digits)}"


def exact(quantity: Quantity, row: pd.Series) -> str:
    """A value with its interval and n, with enough digits to copy."""
    if unresolved(quantity, row):
        bound = f"below the resolution of {row['n']:,.0f} samples (< {row['high']:.6g}, 95 % interval from 0)"
        return f"{quantity.title}: none found, {bound}"
    unit = "" if quantity.unit == "%" else f" {quantity.unit}".rstrip()
    parts = [f"{quantity.title}: {row['value']:.6g}{unit}"]
    if not math.isnan(row["low"]):
        parts.append(f"95 % interval {row['low']:.6g} to {row['high']:.6g}")
    if row["n"] > 0:
        parts.append(f"n = {row['n']:.0f}")
    parts.append(f"{row['seeds']:.0f} seed{'s' if row['seeds'] > 1 else ''}")
    if not math.isnan(row["p"]):
        parts.append(f"against the best adjusted p {probability(row['p'])}")
    return ", ".join(parts)
