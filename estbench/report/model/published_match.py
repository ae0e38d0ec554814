"""Matches published results with measured ones."""

import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from estbench.published import Protocol, PublishedResult, protocols, results
from estbench.report.model.intervals import student
from estbench.report.model.protocol_match import MeasuredProtocol, ProtocolPart, protocol_parts
from estbench.report.model.rows import measured
from estbench.report.model.study import Study
from estbench.stats import normal_margin

MOST = 3
_METRIC = re.compile(r"([a-z]+?)(\d*)_(\w+)")
_IMAGES = operator.methodcaller("removeprefix", "binarised_")
_KIN = {"bound": ("bound", "elbo"), "elbo": ("elbo", "bound")}


@dataclass(frozen=True)
class Match:
    """A published result and the measured one of the same estimator, both as the paper prints it.

    Args:
        label: the estimator as it was run.
        result: the published result.
        value: the measured mean over seeds; low and high its 95 % interval, NaN for a single seed.
        seeds: how many.
        parts: the protocol's parts.
    """

    label: str
    result: PublishedResult
    value: float
    low: float
    high: float
    seeds: int
    parts: tuple[ProtocolPart, ...]

    @property
    def comparable(self) -> bool:
        """Whether every part that the paper states is known to agree with the run."""
        return all(part.verdict in {"same", "not stated"} for part in self.parts)

    @property
    def difference(self) -> tuple[float, float, float]:
        """The measured minus the published value, with a 95 % interval that includes a published spread."""
        half = (self.high - self.low) / 2
        seeds = protocols()[self.result.protocol].run.get("seeds")
        spread = 0.0 if math.isnan(self.result.spread) else self.result.spread
        error = spread / math.sqrt(seeds if isinstance(seeds, int) else 1)
        reach = math.hypot(half, normal_margin(error))
        gap = self.value - self.result.value
        return gap, gap - reach, gap + reach


@dataclass(frozen=True)
class PublishedModel:
    """A published table's values of one model, beside those of a task."""

    protocol: Protocol
    pairs: tuple[Match, ...]

    @property
    def first(self) -> PublishedResult:
        """One of its published results."""
        return self.pairs[0].result

    @property
    def common(self) -> list[ProtocolPart]:
        """Parts that are the same for all estimators."""
        return [part for part in self.pairs[0].parts if all(part in pair.parts for pair in self.pairs)]

    def own(self, pair: Match) -> list[ProtocolPart]:
        """Parts that are an estimator's own."""
        return [part for part in pair.parts if part not in self.common]


@dataclass(frozen=True)
class Matches:
    """The published results for a task's estimators.

    Args:
        groups: the closest tables on the same data set, those of the same protocol first.
        elsewhere: other data sets on which there are values of the same task and estimators.
        more: tables that are left out, since their protocols differ more.
    """

    groups: tuple[PublishedModel, ...]
    elsewhere: tuple[str, ...]
    more: int


def matches(study: Study, task: str) -> Matches:
    """The published results for a task's estimators that match something in the run."""
    rows = study.rows[study.rows["task"] == task]
    ends = _ends(rows)
    runs = {label: MeasuredProtocol.of(study, task, label) for label in dict.fromkeys(ends["label"])}
    base = str(rows["spec"].iloc[0]).partition("[")[0]
    tables: dict[tuple[str, ...], list[Match]] = {}
    elsewhere = set()
    for result in (result for result in results() if result.task.name == base and result.estimator):
        for label, run in runs.items():
            if result.estimator and run.estimator == result.estimator.name:
                own = ends[ends["label"] == label].set_index("quantity")
                metric = _nearest(result.metric, list(own.index))
                other = _other_data(run, result)
                if metric and other:
                    elsewhere.add(other)
                elif metric:
                    key = (result.protocol, result.table, result.metric_published, result.setting)
                    tables.setdefault(key, []).append(_pair(result, run, label, own.loc[metric], metric))
    return _closest(tables, tuple(sorted(elsewhere)))


def _ends(rows: pd.DataFrame) -> pd.DataFrame:
    """The objectives at the end of training, on training data too."""
    rows = measured(rows, "training").sort_values("step", kind="stable")
    last = rows.groupby(["label", "metric", "seed"], sort=False).tail(1)
    return student(last.assign(quantity=last["metric"]))


def _nearest(wanted: str, available: Sequence[str]) -> str:
    """The metric itself, or else one of its kind on the same data: the one with the most samples."""
    if wanted in available or not wanted:
        return wanted
    found = _METRIC.fullmatch(wanted)
    stem, split = (found[1], found[3]) if found else (wanted, "")
    kin = []
    for name in available:
        other = _METRIC.fullmatch(name)
        if other and other[3] == split and other[1] in _KIN.get(stem, (stem,)):
            kin.append((other[1] == stem, int(other[2] or 1), name))
    return max(kin)[2] if kin else ""


def _other_data(run: MeasuredProtocol, result: PublishedResult) -> str:
    """The published data set, if its images are not those of the run or the run does not say."""
    there = result.task.options.get("dataset", protocols()[result.protocol].task.get("dataset", ""))
    there = [there] if isinstance(there, str) else there
    here = str(run.task_options.get("dataset", ""))
    # a published binarisation has the same images; the binarisation is compared as a part of the protocol
    return "" if _IMAGES(here) in map(_IMAGES, there) else str(there[0])


def _pair(result: PublishedResult, run: MeasuredProtocol, label: str, row: pd.Series, metric: str) -> Match:
    value, *ends = (float(row[key]) * result.scale for key in ("value", "low", "high"))
    low, high = sorted(ends)
    found = tuple(protocol_parts(run, result, protocols()[result.protocol], metric))
    return Match(label, result, value, low, high, int(row["seeds"]), found)


def _closest(tables: dict[tuple[str, ...], list[Match]], elsewhere: tuple[str, ...]) -> Matches:
    """For each published table the model closest to the task; and of these the tables closest to the run."""
    models: dict[tuple[str, ...], list[PublishedModel]] = {}
    for (protocol, *place, _), pairs in tables.items():
        models.setdefault((protocol, *place), []).append(PublishedModel(protocols()[protocol], tuple(pairs)))
    groups = sorted((min(groups, key=_distance) for groups in models.values()), key=_distance)
    kept = [group for i, group in enumerate(groups) if i < MOST or _distance(group) == 0]
    return Matches(tuple(kept), elsewhere, len(groups) - len(kept))


def _distance(group: PublishedModel) -> float:
    """How many parts differ or are unknown, for the estimator that is closest."""
    return min(sum(part.verdict in {"differs", "not recorded"} for part in pair.parts) for pair in group.pairs)
