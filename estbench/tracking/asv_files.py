"""Reads asv's result files, without needing asv."""

import ast
import itertools
import json
import math
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from estbench.errors import UserError
from estbench.tracking.tracked_values import Key, TrackedValue, TrackedValues

# ratio of the half-widths of 95 % intervals and asv's 99 % intervals
_NARROWER = 1.95996 / 2.57583


def of_file(path: Path, place: str = "") -> TrackedValues:
    """The values of one asv result file.

    Raises:
        UserError: the file is not a result file of asv.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = {
            name: dict(zip(content["result_columns"], row, strict=False)) for name, row in content["results"].items()
        }
        return {
            key: tracked for name, row in rows.items() for key, tracked in _tracked_values(name, row, place).items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(f"{path} is no result file of asv: {type(error).__name__}: {error}") from error


def machine(path: Path) -> str:
    """The machine that a result file names; empty if it names none."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return str((content.get("params") or {}).get("machine") or "")


def of_commit(name: str, results: Path) -> TrackedValues:
    """The values of a commit, on all machines and environments of a folder of results.

    Raises:
        UserError: there is no such commit, or it has no results.
    """
    commit = commit_of(name)
    found: TrackedValues = {}
    for path in sorted(results.glob(f"*/{commit[:8]}-*.json")):
        found |= of_file(path, f"{path.parent.name}/{path.stem[9:]}")
    if not found:
        raise UserError(f"{name} is neither a file nor a run, and {results} holds no results of a commit {commit[:8]}")
    return found


def commit_of(name: str) -> str:
    """The full name of a commit of the repository here.

    Raises:
        UserError: there is none, or no git.
    """
    command = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (no shell)
    except OSError as error:
        raise UserError(f"cannot look up the commit {name}: {error.strerror}") from error
    if done.returncode == 0:
        return done.stdout.strip()
    raise UserError(f"{name} is neither a file, nor a run, nor a commit of the repository here")


def _tracked_values(name: str, row: Mapping[str, Any], place: str) -> TrackedValues:
    combinations = list(itertools.product(*(row.get("params") or [])))
    columns = {key: _spread(row.get(key), len(combinations)) for key in _COLUMNS}
    found = {}
    for index, parameters in enumerate(combinations):
        cell = {key: values[index] for key, values in columns.items()}
        tracked = _tracked(cell, str(row.get("version")))
        # asv writes NaN both for combinations that do not apply and for those that were not requested
        if tracked.status != "not applicable":
            found[Key(name, tuple(_plain(parameter) for parameter in parameters), place)] = tracked
    return found


_COLUMNS = ("result", "samples", "stats_ci_99_a", "stats_ci_99_b")


def _spread(values: Any, count: int) -> list[Any]:
    """A column for all combinations of parameters; asv shortens one without any value to null."""
    return [None] * count if values is None else list(values)


def _tracked(cell: Mapping[str, Any], version: str) -> TrackedValue:
    value = cell["result"]
    if value is None:
        return TrackedValue(status="failed", error="the benchmark failed", version=version)
    value = float(value)
    if math.isnan(value):
        return TrackedValue(status="not applicable", version=version)
    low, high = math.nan, math.nan
    if cell["stats_ci_99_a"] is not None and cell["stats_ci_99_b"] is not None:
        low, high = (value + _NARROWER * (float(cell[end]) - value) for end in ("stats_ci_99_a", "stats_ci_99_b"))
    samples = tuple(float(sample) for sample in cell["samples"] or () if sample is not None and not math.isnan(sample))
    return TrackedValue(value, low, high, samples, version=version)


def _plain(parameter: str) -> str:
    """A parameter, from the repr that asv keeps."""
    try:
        return str(ast.literal_eval(parameter))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return parameter
