"""The history of tracked values over many commits: steps and slow drifts, which no comparison of two commits shows."""

import json
import math
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from estbench.errors import UserError
from estbench.stats import holm
from estbench.tracking import asv_files
from estbench.tracking.change_points import SHORTEST, ChangePoint, chance, changes
from estbench.tracking.gate import THRESHOLDS, threshold
from estbench.tracking.tracked_values import Key
from estbench.tracking.verdicts import Threshold

# by weight
STATES = ("regression", "recovered", "improvement", "unchanged", "short")


@dataclass(frozen=True)
class Series:
    """A tracked value over commits.

    Args:
        key: what it is of.
        commits: the commits that have it, oldest first.
        values: the value of each; lower is better.
    """

    key: Key
    commits: tuple[str, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class HistoryFindings:
    """What a history shows.

    Args:
        series: the history.
        state: one of :data:`STATES`: ``regression`` if the changes since the start of judgement add up to more than
            the threshold, ``recovered`` if some made it worse and later ones made up for it, ``short`` if there are
            too few commits for a test.
        p: of the test that nothing changed at all, by Holm for all histories.
        changes: the changes that were found in the whole history.
        total: the product of the ratios of the changes that are judged.
    """

    series: Series
    state: str
    p: float = math.nan
    changes: tuple[ChangePoint, ...] = ()
    total: float = 1.0


@dataclass(frozen=True)
class History:
    """All histories of a folder of asv's results.

    Args:
        found: one for each tracked value, the worst first.
        since: the commit from which on changes are judged; empty for the first.
        left_out: number of result files of commits that are not in the history of HEAD.
    """

    found: tuple[HistoryFindings, ...]
    since: str = ""
    left_out: int = 0

    @property
    def code(self) -> int:
        """The exit code: 1 if anything got worse, else 0."""
        return int(any(each.state == "regression" for each in self.found))


@dataclass
class _Collected:
    """Values by commit, in the order of the history."""

    values: dict[str, float] = field(default_factory=dict)
    version: str = ""

    def add(self, commit: str, value: float, version: str) -> None:
        if version != self.version:
            # another version of a benchmark measures something else
            self.values, self.version = {}, version
        self.values[commit] = value


def history(
    results: Path, *, since: str = "", only: str = "*", thresholds: Sequence[str] = (), alpha: float = 0.01
) -> History:
    """Finds what changed over the commits of HEAD's first-parent history.

    A history needs at least six commits. A step is found once three commits lie behind it; before that, the gate is
    what compares the newest commits.

    Args:
        results: folder of asv's results.
        since: the commit, branch or tag after which changes are judged; by default the last tag, and without tags the
            first commit. Earlier commits help to find changes, and are not judged.
        only: pattern of the benchmarks to look at.
        thresholds: ratios that count, as for the gate: ``1.1`` for all, or ``*time*=1.3``; the last match applies.
        alpha: probability of any false alarm over all histories.

    Raises:
        UserError: the folder has no results of this repository's commits, or an argument is wrong.
    """
    limits = [threshold(text) for text in (*THRESHOLDS, *thresholds)]
    if not 0 < alpha < 1:
        raise UserError(f"alpha is a probability between 0 and 1; got {alpha}")
    order = _commits()
    since = asv_files.commit_of(since) if since else _last_tag()
    if since and since not in order:
        raise UserError(f"{since[:8]} is not in the first-parent history of HEAD")
    series, left_out = collected(results, order, only)
    if not series:
        raise UserError(f"{results} holds no results of benchmarks that fit {only!r}, of the {len(order)} commits here")
    start = order.index(since) if since else 0
    chances = holm([chance(each.values) for each in series])
    judged = [_judge(each, p, order, start, limits, alpha) for each, p in zip(series, chances, strict=True)]
    return History(tuple(sorted(judged, key=_weight)), since, left_out)


def collected(results: Path, order: Sequence[str], only: str = "*") -> tuple[list[Series], int]:
    """The series of a folder of asv's results, and the number of files of commits that are not in this order.

    Raises:
        UserError: a file is no result file of asv.
    """
    rank = {commit[:8]: place for place, commit in enumerate(order)}
    files = [path for path in results.glob("*/*-*.json") if len(path.stem.partition("-")[0]) == 8]
    known = sorted((path for path in files if path.stem[:8] in rank), key=lambda path: rank[path.stem[:8]])
    found: dict[Key, _Collected] = {}
    for path in known:
        commit = order[rank[path.stem[:8]]]
        for key, tracked in asv_files.of_file(path, f"{path.parent.name}/{path.stem[9:]}").items():
            if tracked.status == "ok" and 0 < tracked.value < math.inf and fnmatchcase(key.benchmark, only):
                found.setdefault(key, _Collected()).add(commit, tracked.value, tracked.version)
    series = [Series(key, tuple(own.values), tuple(own.values.values())) for key, own in sorted(found.items())]
    return series, len(files) - len(known)


def _judge(
    series: Series, p: float, order: Sequence[str], start: int, limits: Sequence[Threshold], alpha: float
) -> HistoryFindings:
    if len(series.values) < 2 * SHORTEST:
        return HistoryFindings(series, "short")
    found = tuple(changes(series.values, alpha)) if p < alpha else ()
    place = {commit: number for number, commit in enumerate(order)}
    later = [_since(each, [place[commit] for commit in series.commits], start) for each in found]
    total = math.prod(later)
    limit = [each.ratio for each in limits if fnmatchcase(series.key.benchmark, each.pattern)][-1]
    if total > limit:
        state = "regression"
    elif total < 1 / limit:
        state = "improvement"
    else:
        state = "recovered" if any(ratio > limit for ratio in later) else "unchanged"
    return HistoryFindings(series, state, p, found, total)


def _since(change: ChangePoint, places: Sequence[int], start: int) -> float:
    """The ratio of a change, as far as it happened after a commit; a drift in proportion to its commits."""
    if change.kind == "step":
        return change.ratio if places[change.first] > start else 1.0
    steps = change.last - change.first
    before = sum(place <= start for place in places[change.first + 1 : change.last + 1]) if start else 0
    return change.ratio ** ((steps - before) / steps)


def _weight(found: HistoryFindings) -> tuple[int, float, Key]:
    return STATES.index(found.state), -abs(math.log(found.total)), found.series.key


def _commits() -> list[str]:
    """The commits of HEAD's first-parent history, oldest first."""
    return _git("rev-list", "--first-parent", "--reverse", "HEAD").split()


def _last_tag() -> str:
    try:
        name = _git("describe", "--tags", "--abbrev=0", "--first-parent").strip()
    except UserError:
        return ""
    return asv_files.commit_of(name)


def _git(*command: str) -> str:
    try:
        done = subprocess.run(["git", *command], capture_output=True, text=True, check=False)  # noqa: S603, S607
    except OSError as error:
        raise UserError(f"cannot read the history of commits: git: {error.strerror}") from error
    if done.returncode:
        raise UserError(f"cannot read the history of commits: {done.stderr.strip() or 'git failed'}")
    return done.stdout


def as_json(found: History) -> str:
    """The same as JSON, for other programs."""
    return json.dumps([_plain(each) for each in found.found], indent=1)


def _plain(found: HistoryFindings) -> Mapping[str, object]:
    key = found.series.key
    return {
        "benchmark": key.benchmark,
        "of": [*key.parameters, key.place],
        "state": found.state,
        "p": None if math.isnan(found.p) else found.p,
        "total": found.total,
        "changes": [{**vars(each), "commit": found.series.commits[each.first]} for each in found.changes],
    }
