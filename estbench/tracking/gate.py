"""The gate: finds regressions between two sets of results, and separates them from noise, gaps and failures."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from estbench.errors import UserError
from estbench.tracking import asv_files, tracked_values
from estbench.tracking.markdown import markdown
from estbench.tracking.tracked_values import Key, TrackedValues
from estbench.tracking.verdicts import TIMES, Finding, Threshold, confirm, judge, suspects

THRESHOLDS = ("1.05", f"{TIMES}=1.2")
Again: TypeAlias = Callable[[Sequence[Key]], tuple[TrackedValues, TrackedValues]]


@dataclass(frozen=True)
class GateResult:
    """The result of the gate.

    Args:
        findings: all values, worst verdicts first.
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
    again: Again | None = None,
) -> GateResult:
    """Compares two runs, two result files of asv, or two commits in a folder of asv's results.

    Args:
        base: before; a run's folder, ``results.parquet``, an asv result file, or a commit.
        head: after.
        results: folder of asv's results, for commits; by default the one that asv.conf.json names.
        thresholds: smallest ratios that count, ``1.1`` for all or ``*time*=1.3`` by benchmark; the last match applies.
        alpha: probability of any false alarm or praise in the whole table, where noise is independent.
        allow_missing: whether missing values are accepted.
        again: measures values of both sides again; a time that got worse is a regression only if this confirms it.

    Raises:
        UserError: a side cannot be read, a threshold is none, or no value can be compared.
    """
    limits = [threshold(text) for text in (*THRESHOLDS, *thresholds)]
    if not 0 < alpha < 1:
        raise UserError(f"alpha is a probability between 0 and 1; got {alpha}")
    before, after = _load(base, results), _load(head, results)
    findings = judge(before, after, limits, alpha)
    if not any(finding.says_something for finding in findings):
        raise UserError(f"nothing to compare: {_counted(base, head, before, after)}")
    doubted = suspects(findings)
    if again and doubted:
        findings = confirm(findings, judge(*again(doubted), limits, alpha))
    counts = Counter(finding.verdict for finding in findings)
    broken = counts["failed"] + (0 if allow_missing else counts["missing"])
    table = markdown(findings, base, head, list(filter(None, map(_machine, (base, head)))))
    return GateResult(findings, table, 1 if counts["regression"] else 3 if broken else 0)


def threshold(text: str) -> Threshold:
    """Reads a threshold: a ratio, or a pattern of benchmarks and a ratio.

    Raises:
        UserError: it is neither.
    """
    pattern, _, number = text.rpartition("=")
    try:
        ratio = float(number)
    except ValueError:
        ratio = math.nan
    if not 1 <= ratio < math.inf:
        raise UserError(f"a threshold is a ratio of at least 1, or pattern=ratio; got {text!r}")
    return Threshold(pattern or "*", ratio)


def _counted(base: str, head: str, before: TrackedValues, after: TrackedValues) -> str:
    """Why two sides have nothing that can be compared."""
    counts = f"{base} has {len(before)} values, {head} {len(after)}"
    if common := len(set(before) & set(after)):
        return f"{counts}; all {common} in both failed, differ in version, or are not positive"
    return f"{counts}, none in both"


def _machine(source: str) -> str:
    """The machine of a file or run; empty for a commit, whose values name their machine."""
    path = Path(source)
    if path.is_dir() or path.suffix == ".parquet":
        return tracked_values.machine(path)
    return asv_files.machine(path) if path.is_file() else ""


def _load(source: str, results: Path | None) -> TrackedValues:
    path = Path(source)
    if path.suffix in {".json", ".parquet"} and not path.exists():
        raise UserError(f"there is no file {path}")
    if path.is_dir() or path.suffix == ".parquet":
        return tracked_values.of_run(path)
    if path.suffix == ".json" or path.is_file():
        return asv_files.of_file(path)
    if results is None:
        from estbench.tracking.write import results_folder  # noqa: PLC0415  (needs asv; files do not)

        results = results_folder(Path())
    return asv_files.of_commit(source, results)
