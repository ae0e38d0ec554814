"""Verdicts: compares each value before and after, with a test against chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np

from estbench.errors import UserError
from estbench.stats import Centre, holm, normal_error, trimmed_mean, welch
from estbench.tracking import tracked_values
from estbench.tracking.tracked_values import Key, TrackedValue, TrackedValues

# by weight; what is the same is only counted
VERDICTS = ("regression", "failed", "missing", "improvement", "noise", "incomparable", "new", "same")
TIMES = "*time*"


class Threshold(NamedTuple):
    """The least ratio that counts, for benchmarks that fit a pattern."""

    pattern: str
    ratio: float


@dataclass(frozen=True)
class Finding:
    """One value compared.

    Args:
        key: what it is of.
        verdict: one of :data:`VERDICTS`.
        base: the value before, None if there was none.
        head: the value after.
        p: of the test that nothing changed, by Holm for the whole table; NaN where nothing could be tested.
    """

    key: Key
    verdict: str
    base: TrackedValue | None
    head: TrackedValue | None
    p: float = math.nan

    @property
    def ratio(self) -> float:
        """Head over base."""
        return self.head.value / self.base.value if self.base and self.head and self.base.value else math.nan

    @property
    def says_something(self) -> bool:
        """Whether both sides hold the value, in a way that can be compared."""
        ok = [tracked.status == "ok" for tracked in (self.base, self.head) if tracked]
        return len(ok) == 2 and any(ok) and self.verdict != "incomparable"


def judge(base: TrackedValues, head: TrackedValues, limits: Sequence[Threshold], alpha: float) -> tuple[Finding, ...]:
    """Judges every value of either side, the worst verdict first.

    Raises:
        UserError: the two sides have no machine in common.
    """
    places = [{key.place for key in side} for side in (base, head)]
    if base and head and not places[0] & places[1]:
        base_on, head_on = (", ".join(sorted(side)) for side in places)
        raise UserError(f"base and head have no machine and environment in common: base {base_on}; head {head_on}")
    names = {key.benchmark for key in (*base, *head)}
    base, head = tracked_values.spread_failures(base, names), tracked_values.spread_failures(head, names)
    both = [key for key in base if key in head and _comparable(base[key], head[key])]
    chances = dict(zip(both, holm([chance(base[key], head[key]) for key in both]), strict=True))
    findings = []
    for key in {*base, *head}:
        # a machine that one side lacks is no gap of that side's code
        if key.place not in places[0] & places[1] and base and head:
            continue
        limit = [limit.ratio for limit in limits if fnmatchcase(key.benchmark, limit.pattern)][-1]
        findings.append(_judge(key, base.get(key), head.get(key), limit, chances.get(key, math.nan), alpha))
    return _worst_first(findings)


def suspects(findings: Sequence[Finding]) -> list[Key]:
    """Times that got worse: what else a machine does can look like that, whatever the samples say."""
    return [f.key for f in findings if f.verdict == "regression" and fnmatchcase(f.key.benchmark, TIMES)]


def confirm(findings: Sequence[Finding], again: Sequence[Finding]) -> tuple[Finding, ...]:
    """The same findings with suspects judged by a second measurement: what it does not show either is noise."""
    second = {finding.key: finding for finding in again}
    doubted = set(suspects(findings)) & set(second)
    return _worst_first([_confirmed(second[f.key]) if f.key in doubted else f for f in findings])


def _confirmed(finding: Finding) -> Finding:
    return finding if finding.verdict in {"regression", "failed"} else replace(finding, verdict="noise")


def _worst_first(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    rank = {verdict: place for place, verdict in enumerate(VERDICTS)}
    size = {f.key: -abs(math.log(f.ratio)) if f.ratio > 0 else 0.0 for f in findings}
    return tuple(sorted(findings, key=lambda f: (rank[f.verdict], size[f.key], f.key)))


def _comparable(base: TrackedValue, head: TrackedValue) -> bool:
    return base.status == head.status == "ok" and base.version == head.version and min(base.value, head.value) > 0


def _judge(
    key: Key, base: TrackedValue | None, head: TrackedValue | None, limit: float, p: float, alpha: float
) -> Finding:
    """The verdict on one value."""
    was, now = (tracked.status if tracked else "absent" for tracked in (base, head))
    if now == "failed":
        verdict = "same" if was == "failed" else "failed"
    elif now == "ok" and was != "ok":
        verdict = "new"
    elif now != "ok":
        verdict = "missing" if was == "ok" else "same"
    elif base is None or head is None or not _comparable(base, head):
        verdict = "incomparable"
    else:
        verdict = _verdict(base.value, head.value, limit, significant=math.isnan(p) or p < alpha)
    return Finding(key, verdict, base, head, p)


def _verdict(base: float, head: float, limit: float, *, significant: bool) -> str:
    # written so that two infinite values are the same
    if base <= limit * head and head <= limit * base:
        return "same"
    if not significant:
        return "noise"
    return "regression" if head > base else "improvement"


def chance(base: TrackedValue, head: TrackedValue) -> float:
    """Probability of such a difference by chance, by Welch's test on logarithms; NaN if no spread is known."""
    before, after = _centre(base), _centre(head)
    return math.nan if before is None or after is None else welch(before, after)


def _centre(tracked: TrackedValue) -> Centre | None:
    """The middle on the logarithmic scale: a trimmed mean, or from the interval."""
    n = len(tracked.samples)
    if n >= 3 and min(tracked.samples) > 0 and max(tracked.samples) < math.inf:
        # a timing's outliers are of the machine
        return trimmed_mean(np.log(tracked.samples), 0.2 if n >= 10 else 0.0)
    if math.isfinite(tracked.low) and math.isfinite(tracked.high):
        error = float(normal_error(tracked.low, tracked.high)) / tracked.value
        return Centre(math.log(tracked.value), error, math.inf)
    return None
