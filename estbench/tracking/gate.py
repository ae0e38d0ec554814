"""The gate: what got worse between two sets of results, told apart from noise, gaps and failures."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import special

from estbench.spec import UserError
from estbench.tracking import asv_files, figures
from estbench.tracking.figures import Figure, Figures, Key

# by weight; what is the same is only counted
VERDICTS = ("regression", "failed", "missing", "improvement", "noise", "incomparable", "new", "same")
THRESHOLDS = ("1.05", "*time*=1.2")
_LISTED = 200


@dataclass(frozen=True)
class Finding:
    """One figure compared.

    Args:
        key: what it is of.
        verdict: one of :data:`VERDICTS`.
        base: the figure before, None if there was none.
        head: the figure after.
        p: probability of such a difference by chance; NaN where nothing could be tested.
    """

    key: Key
    verdict: str
    base: Figure | None
    head: Figure | None
    p: float = math.nan

    @property
    def ratio(self) -> float:
        """Head over base."""
        return self.head.value / self.base.value if self.base and self.head and self.base.value else math.nan


@dataclass(frozen=True)
class Outcome:
    """What the gate says.

    Args:
        findings: all figures, worst verdicts first.
        table: the same in Markdown.
        code: 0 if nothing got worse, 1 for a regression, 3 if there is none but something failed or is missing.
    """

    findings: tuple[Finding, ...]
    table: str
    code: int


def gate(
    base: str,
    head: str,
    *,
    results: Path | None = None,
    thresholds: Sequence[str] = (),
    alpha: float = 0.01,
    allow_missing: bool = False,
) -> Outcome:
    """Compares two runs, two result files of asv, or two commits in a folder of asv's results.

    Args:
        base: before; a run's folder, ``results.parquet``, an asv result file, or a commit.
        head: after.
        results: folder of asv's results, for commits; by default the one that asv.conf.json names.
        thresholds: least ratios that count, ``1.1`` for all or ``*time*=1.3`` by benchmark; the last that fits holds.
        alpha: probability of any false alarm or praise in the whole table, where noise is independent.
        allow_missing: whether gaps are let through.

    Raises:
        UserError: a side cannot be read, or a threshold is none.
    """
    limits = [_threshold(text) for text in (*THRESHOLDS, *thresholds)]
    if not 0 < alpha < 1:
        raise UserError(f"alpha is a probability between 0 and 1; got {alpha}")
    findings = compare(_load(base, results), _load(head, results), limits, alpha)
    counts = Counter(finding.verdict for finding in findings)
    broken = counts["failed"] + (0 if allow_missing else counts["missing"])
    return Outcome(findings, markdown(findings, base, head), 1 if counts["regression"] else 3 if broken else 0)


class Threshold(NamedTuple):
    """The least ratio that counts, for benchmarks that fit a pattern."""

    pattern: str
    ratio: float


def _threshold(text: str) -> Threshold:
    pattern, _, number = text.rpartition("=")
    try:
        ratio = float(number)
    except ValueError:
        ratio = math.nan
    if not 1 <= ratio < math.inf:
        raise UserError(f"a threshold is a ratio of at least 1, or pattern=ratio; got {text!r}")
    return Threshold(pattern or "*", ratio)


def _load(source: str, results: Path | None) -> Figures:
    path = Path(source)
    if path.is_dir() or path.suffix == ".parquet":
        return figures.of_run(path)
    if path.suffix == ".json" or path.is_file():
        return asv_files.of_file(path)
    if results is None:
        from estbench.tracking.write import results_folder  # noqa: PLC0415  (needs asv; files do not)

        results = results_folder(Path())
    return asv_files.of_commit(source, results)


def compare(base: Figures, head: Figures, limits: Sequence[Threshold], alpha: float) -> tuple[Finding, ...]:
    """Judges every figure of either side."""
    places = [{key.place for key in side} for side in (base, head)]
    if base and head and not places[0] & places[1]:
        raise UserError(f"base and head have no machine in common: {sorted(places[0])}; {sorted(places[1])}")
    names = {key.benchmark for key in (*base, *head)}
    base, head = figures.spread(base, names), figures.spread(head, names)
    both = [key for key in base if key in head and _comparable(base[key], head[key])]
    chances = {key: chance(base[key], head[key]) for key in both}
    level = alpha / max(sum(not math.isnan(p) for p in chances.values()), 1)
    findings = []
    for key in sorted({*base, *head}):
        # a machine that one side lacks is no gap of that side's code
        if key.place not in places[0] & places[1] and base and head:
            continue
        limit = [limit.ratio for limit in limits if fnmatchcase(key.benchmark, limit.pattern)][-1]
        findings.append(_judge(key, base.get(key), head.get(key), limit, chances.get(key, math.nan), level))
    order = {verdict: rank for rank, verdict in enumerate(VERDICTS)}
    return tuple(sorted(findings, key=lambda f: (order[f.verdict], -abs(math.log(f.ratio)) if f.ratio > 0 else 0)))


def _comparable(base: Figure, head: Figure) -> bool:
    return base.status == head.status == "ok" and base.version == head.version and min(base.value, head.value) > 0


def _judge(key: Key, base: Figure | None, head: Figure | None, limit: float, p: float, level: float) -> Finding:
    """The verdict on one figure."""
    was, now = (figure.status if figure else "absent" for figure in (base, head))
    if now == "failed":
        verdict = "same" if was == "failed" else "failed"
    elif now == "ok" and was != "ok":
        verdict = "new"
    elif now != "ok":
        verdict = "missing" if was == "ok" else "same"
    elif base is None or head is None or not _comparable(base, head):
        verdict = "incomparable"
    else:
        verdict = _verdict(head.value / base.value, limit, significant=math.isnan(p) or p < level)
    return Finding(key, verdict, base, head, p)


def _verdict(ratio: float, limit: float, *, significant: bool) -> str:
    if 1 / limit <= ratio <= limit:
        return "same"
    if not significant:
        return "noise"
    return "regression" if ratio > 1 else "improvement"


def chance(base: Figure, head: Figure) -> float:
    """Probability of such a difference by chance, by Welch's test on logarithms; NaN if no spread is known."""
    before, after = _centre(base), _centre(head)
    if before is None or after is None:
        return math.nan
    error = math.hypot(before.error, after.error)
    gap = abs(after.log - before.log)
    if error <= 1e-12 * max(1.0, gap):
        return 0.0 if gap > 1e-9 else 1.0
    freedom = error**4 / sum(c.error**4 / c.freedom for c in (before, after))
    return float(2 * special.stdtr(freedom, -gap / error))


class _Centre(NamedTuple):
    log: float
    error: float
    freedom: float


def _centre(figure: Figure) -> _Centre | None:
    """The middle on the logarithmic scale with its standard error: Yuen's trimmed mean, or from the interval."""
    n = len(figure.samples)
    if n >= 3 and min(figure.samples) > 0:
        logs = np.sort(np.log(figure.samples))
        # a timing's outliers are of the machine
        cut = n // 5 if n >= 10 else 0
        kept = n - 2 * cut
        spread = float(np.var(np.clip(logs, logs[cut], logs[n - 1 - cut]), ddof=1))
        return _Centre(float(logs[cut : n - cut].mean()), (spread * (n - 1) / kept / (kept - 1)) ** 0.5, kept - 1)
    if math.isfinite(figure.low) and math.isfinite(figure.high):
        error = (figure.high - figure.low) / 2 / 1.95996 / figure.value
        return _Centre(math.log(figure.value), error, 1e9)
    return None


def markdown(findings: Sequence[Finding], base: str, head: str) -> str:
    """A table of everything that is not the same, after a line of counts."""
    counts = Counter(finding.verdict for finding in findings)
    summary = (
        ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]) or "nothing to compare"
    )
    lines = [f"{code(base)} → {code(head)}: {summary}.", ""]
    shown = [finding for finding in findings if finding.verdict != "same"]
    if shown:
        lines += [
            "| verdict | benchmark | of | base | head | ratio | p |",
            "| --- | --- | --- | --: | --: | --: | --: |",
        ]
        lines += [_row(finding) for finding in shown[:_LISTED]]
    if len(shown) > _LISTED:
        lines.append(f"\n{len(shown) - _LISTED} more are left out.")
    return "\n".join(lines) + "\n"


def _row(finding: Finding) -> str:
    place = [finding.key.place] if finding.key.place else []
    who = ", ".join(code(part) for part in (*finding.key.parameters, *place)) or "–"
    bold = f"**{finding.verdict}**" if finding.verdict in VERDICTS[:3] else finding.verdict
    cells = [bold, code(finding.key.benchmark), who, _cell(finding.base), _cell(finding.head)]
    return f"| {' | '.join([*cells, _number(finding.ratio, '.3f'), _number(finding.p, '.1e')])} |"


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    return _number(figure.value, ".4g") if figure.status == "ok" else code(figure.error or figure.status)


def _number(value: float, style: str) -> str:
    return "–" if math.isnan(value) else format(value, style)


def code(text: str) -> str:
    """Text of unknown origin as a code span, in which neither markup, links, mentions nor table bars work."""
    plain = "".join(c if c.isprintable() and c not in "`|\\" else "�" for c in " ".join(text.split()))
    return f"`{plain[:120] or '�'}`"
