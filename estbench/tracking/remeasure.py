"""Measuring once more, by asv: times of two commits in turns, each time in a process of its own.

Samples of one process share its luck: where its memory lies, and what else the machine does meanwhile. So the
unit here is the process, of which there are several on either side.
"""

import importlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from estbench.errors import UserError
from estbench.tracking import asv_files
from estbench.tracking.tracked_values import Key, TrackedValue, TrackedValues

LEAST = 3  # processes a side that a test can work with


def check_repeatable(base: str, head: str, times: int) -> None:
    """Refuses what cannot be measured again, or not often enough for a test.

    Raises:
        UserError: a side is a file or folder, or there are too few measurements.
    """
    for side in (base, head):
        if Path(side).exists():
            raise UserError(f"only commits can be measured again; {side} is a file or folder")
    if times < LEAST:
        raise UserError(f"a test needs at least {LEAST} measurements a side; got {times}")


def measure(keys: Sequence[Key], base: str, head: str, times: int) -> tuple[TrackedValues, TrackedValues]:
    """Runs the benchmarks of both commits in turns by ``asv run``, in the environments that asv.conf.json names.

    asv's kept results stay as they are: these have a folder of their own.

    Args:
        keys: the values.
        base: a commit.
        head: another.
        times: measurements a side.

    Raises:
        UserError: asv.conf.json has no environments that asv builds for a commit, or asv could not run.
    """
    with tempfile.TemporaryDirectory() as folder:
        configuration = _configuration(Path(folder))

        def run(commit: str) -> TrackedValues:
            _run(configuration, commit, keys)
            return asv_files.of_commit(commit, Path(folder))

        try:
            return in_turns(keys, asv_files.commit_of(base), asv_files.commit_of(head), times, run)
        finally:
            configuration.unlink()


def in_turns(
    keys: Sequence[Key], base: str, head: str, times: int, run: Callable[[str], TrackedValues]
) -> tuple[TrackedValues, TrackedValues]:
    """Values of both sides whose samples are the values of several runs.

    Args:
        keys: the values.
        base: what ``run`` takes for one side.
        head: and for the other.
        times: runs a side.
        run: measures a side in a process of its own.
    """
    found: tuple[dict[Key, list[TrackedValue]], ...] = ({}, {})
    sides = list(zip((base, head), found, strict=True))
    for turn in range(times):
        # which comes first alternates, so that a machine that slows down favours neither
        for name, kept in sides if turn % 2 == 0 else reversed(sides):
            tracked_values = run(name)
            for key in set(keys) & set(tracked_values):
                kept.setdefault(key, []).append(tracked_values[key])
    before, after = ({key: _tracked(values) for key, values in kept.items()} for kept in found)
    return before, after


def pattern(key: Key) -> str:
    """The regular expression by which asv knows a benchmark with its parameters."""
    quoted = ", ".join(f"['\"]?{re.escape(parameter)}['\"]?" for parameter in key.parameters)
    return f"^{re.escape(key.benchmark)}" + (rf"\({quoted}\)$" if key.parameters else "$")


def _configuration(results: Path) -> Path:
    """A copy of the configuration beside it, as asv takes its folder for the root, with other results."""
    try:
        config: Any = importlib.import_module("asv.config")
        util: Any = importlib.import_module("asv.util")
        content = dict(util.load_json("asv.conf.json", js_comments=True))
        kind = config.Config.load("asv.conf.json").environment_type
    except ImportError as error:
        raise UserError("measuring again needs asv, which is not installed: pip install 'estbench[track]'") from error
    except (OSError, ValueError, util.UserError) as error:
        raise UserError(f"cannot measure again with asv.conf.json: {error}") from error
    if kind == "existing":
        raise UserError('measuring again needs environments that asv builds; asv.conf.json says "existing"')
    with tempfile.NamedTemporaryFile("w", dir=".", prefix=".again-", suffix=".conf.json", delete=False) as file:
        json.dump(content | {"results_dir": str(results)}, file)
    return Path(file.name)


def _run(configuration: Path, commit: str, keys: Sequence[Key]) -> None:
    some = [part for key in keys for part in ("--bench", pattern(key))]
    command = [sys.executable, "-m", "asv", "--config", str(configuration), "run", "--record-samples", *some]
    done = subprocess.run([*command, f"{commit}^!"], capture_output=True, text=True, check=False)  # noqa: S603  (no shell)
    # 2: a benchmark failed; the results tell which
    if done.returncode not in {0, 2}:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise UserError(f"asv could not measure {commit} again: {' '.join(last)}")


def _tracked(found: Sequence[TrackedValue]) -> TrackedValue:
    """One sample a process; a failure in any of them is one."""
    bad = next((tracked for tracked in found if tracked.status != "ok"), None)
    samples = tuple(tracked.value for tracked in found)
    return bad or TrackedValue(median(samples), samples=samples, version=found[0].version)
