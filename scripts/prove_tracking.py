"""Checks that tracking finds four changes that are made in a temporary clone over ten commits.

One commit slows an estimator down by 30 %, one forgets a factor so that a variance doubles, one adds a bias of 5 %,
and one adds a plugin in the middle of the alphabet. The regressions that asv publishes, and the gate between every
commit and the one before, must name the commit and the estimator of the first three. Every label must be correct, also
when an old commit is measured again with the new names.

    python scripts/prove_tracking.py           # with asv run, 24 minutes on a core shared with four other processes
    python scripts/prove_tracking.py --small   # asv's results written by a forked process a commit, under a minute
"""

# ruff: noqa: INP001, S603, T201  (a script, which runs git and asv and prints what it saw)

import argparse
import functools
import json
import math
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tracking_history import (
    COMMITS,
    EXPECTED,
    PLUGIN_AT,
    SLOW,
    git,
    make_clone,
    make_history,
)

from estbench.tracking import asv_files, remeasure, write
from estbench.tracking.gate import GateResult, gate
from estbench.tracking.tracked_values import Key, TrackedValue, TrackedValues

ROOT = Path(__file__).parents[1]
PYTHON = sys.executable
TASK = "toy[units=5]"
WATCHED = ("rloo", "arm", "disarm", "reinforce", "lemon")
METRICS = ("Quality.track_variance", "Quality.track_error", "Cost.track_relative_time")


def in_clone(clone: Path, action: str, small: bool) -> object:
    """Runs in a process of its own, which imports the clone's code."""
    # starting the process has imported this file, and with it the code of another checkout
    for name in [name for name in sys.modules if name.partition(".")[0] == "estbench"]:
        del sys.modules[name]
    sys.path.insert(0, str(clone))
    sys.dont_write_bytecode = True
    import estbench.estimators  # noqa: PLC0415  (the clone's)

    from benchmarks import _subject, estimators  # noqa: PLC0415  (the clone's)

    homes = [Path(next(iter(estbench.estimators.__path__))), Path(estimators.__file__), Path(estbench.__file__)]
    if any(clone.resolve() not in home.resolve().parents for home in homes):
        raise RuntimeError(f"the clone's code is not what runs: {homes}")
    if action == "calibrate":
        return _calibrated(_subject)
    if small:
        estimators.Cost.blocks = 12
    found = {(tracked, name): _measure(estimators, tracked, name) for tracked in METRICS for name in WATCHED}
    return tuple(estimators.ESTIMATORS), tuple(estimators.TASKS), found


def _calibrated(subject: object) -> float:
    """The factor with which RLOO's forward pass makes a gradient take 30 % longer, reading the clock included."""
    made = subject.ready("rloo", TASK)
    plain = type(made.estimator).forward
    slow = {factor: _slowed(type(made.estimator), factor) for factor in (0, 1)}

    def seconds(forward: object) -> float:
        type(made.estimator).forward = forward
        return subject.seconds(made.gradient, 50)

    rounds = [[seconds(forward) for forward in (plain, *slow.values())] for _ in range(9)]
    whole, at_0, at_1 = map(min, zip(*rounds, strict=True))
    return max(0.0, (1.3 * whole - at_0) / (at_1 - at_0))


def _slowed(rloo: type, factor: float) -> object:
    stand_in = type("RLOO", (), {"forward": rloo.forward})
    exec(SLOW.replace("FACTOR", str(factor)), {"RLOO": stand_in})  # noqa: S102  (the text above)
    return stand_in.forward


def _measure(estimators: object, tracked: str, name: str) -> list[float] | None:
    """Samples of one value, None where it does not apply."""
    cls, method = tracked.split(".")
    made = getattr(estimators, cls)()
    try:
        made.setup(name, TASK)
        return getattr(made, method)(name, TASK)["samples"]
    except NotImplementedError:
        return None


def call(clone: Path, action: str, small: bool) -> object:
    """The result of a call of the clone's code."""
    context = multiprocessing.get_context("forkserver")
    # nothing of estbench: that must come from the clone
    context.set_forkserver_preload(["torch._dynamo", "torch.profiler", "pandas", "pyarrow"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(in_clone, clone, action, small).result(timeout=1000)


def measure_small(clone: Path, commit: str, date: int) -> Path:
    """One commit's results, written through asv's interface."""
    import asv.machine  # noqa: PLC0415  (an extra)
    import asv.results  # noqa: PLC0415  (an extra)

    names, tasks, found = call(clone, "measure", small=True)
    tracked_values: TrackedValues = {
        Key(f"estimators.{tracked}", (name, TASK)): TrackedValue(
            sorted(samples)[len(samples) // 2], samples=tuple(samples)
        )
        for (tracked, name), samples in found.items()
        if samples is not None
    }
    folder = clone / ".asv" / "results"
    machine = asv.machine.Machine()
    machine.machine = "proof"
    machine.save(str(folder))
    made = asv.results.Results({"machine": "proof", "python": "same"}, {}, commit, date, "same", "proof", {})
    return write.store(made, folder, tracked_values, [list(names), list(tasks)])


def measure_in_full(clone: Path, commit: str, _date: int) -> Path:
    """One commit's results, by asv run."""
    return run_asv(
        clone,
        commit,
        f"({'|'.join(name.replace('.', '[.]') for name in METRICS)})\\('({'|'.join(WATCHED)})', '{re.escape(TASK)}",
    )


def measure_again(clone: Path, keys: Sequence[Key], base: str, head: str) -> tuple[TrackedValues, TrackedValues]:
    """Values of two commits once more, five times each in turns; the kept results stay as they are."""

    def run(commit: str) -> TrackedValues:
        git(clone, "checkout", "--quiet", commit)
        (kept,) = (clone / ".asv" / "results" / "proof").glob(f"{commit[:8]}-*.json")
        before = kept.read_bytes()
        found = asv_files.of_file(run_asv(clone, commit, "|".join(map(remeasure.pattern, keys))))
        kept.write_bytes(before)
        return found

    return remeasure.in_turns(keys, base, head, 5, run)


def run_asv(clone: Path, commit: str, some: str) -> Path:
    """Some benchmarks of the commit that is checked out."""
    asv(
        clone,
        "run",
        "--python=same",
        f"--set-commit-hash={commit}",
        "--record-samples",
        "--machine=proof",
        "--bench",
        some,
    )
    (path,) = (clone / ".asv" / "results" / "proof").glob(f"{commit[:8]}-*.json")
    return path


def asv(clone: Path, *arguments: str) -> None:
    """Runs asv in the clone, whose code it imports."""
    known = {**os.environ, "ASV_PYTHONPATH": str(clone), "HOME": str(clone.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [PYTHON, "-m", "asv", *arguments]
    done = subprocess.run(command, cwd=clone, env=known, capture_output=True, text=True, check=False)
    # 2: a benchmark failed; the results tell which
    if done.returncode not in {0, 2}:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")


def published(clone: Path) -> set[tuple[str, str, str]]:
    """Regressions on asv's pages: commit, value, estimator."""
    asv(clone, "publish", "--no-pull")
    html = clone / ".asv" / "html"
    revisions = json.loads((html / "index.json").read_text())["revision_to_hash"]
    found = set()
    for name, _path, _params, _index, _last, _best, jumps in json.loads((html / "regressions.json").read_text())[
        "regressions"
    ]:
        tracked, estimator = re.fullmatch(r"estimators\.(\S+?)\('(\w+)', .*\)", name).groups()
        found |= {(revisions[str(after)], tracked, estimator) for _before, after, _old, _new in jumps or ()}
    return found


def gated(
    clone: Path, commits: list[str], files: list[Path], small: bool
) -> tuple[set[tuple[str, str, str]], list[GateResult]]:
    """Regressions by the gate between each commit and the one before."""
    found, outcomes = set(), []
    for before, commit, base, head in zip(commits, commits[1:], files, files[1:], strict=False):
        confirm = None if small else functools.partial(measure_again, clone, base=before, head=commit)
        outcomes.append(gate(str(base), str(head), allow_missing=True, again=confirm))
        worse = [finding for finding in outcomes[-1].findings if finding.verdict == "regression"]
        found |= {(commit, f.key.benchmark.removeprefix("estimators."), f.key.parameters[0]) for f in worse}
    return found, outcomes


def labels_are_right(files: list[Path], again: TrackedValues) -> list[str]:
    """What is wrong with labels: values of fixed seeds change only where an injection changed them."""
    history = [asv_files.of_file(path) for path in files]
    wrong = []
    changed = {
        (at, injection.estimator) for at, injection in EXPECTED.items() if injection.tracked.startswith("Quality")
    }
    for name in WATCHED:
        for tracked in METRICS[:2]:
            key = Key(f"estimators.{tracked}", (name, TASK))
            values = [side[key].value if key in side else math.nan for side in history]
            if name == "lemon":
                reinforce = Key(key.benchmark, ("reinforce", TASK))
                wanted = [math.nan] * PLUGIN_AT + [side[reinforce].value for side in history[PLUGIN_AT:]]
                wrong += [f"{tracked} of lemon at {i}" for i in range(COMMITS) if not _same(values[i], wanted[i])]
                wrong += ["lemon where a commit lacks it"] if key in again else []
                continue
            pairs = [(i, values[i - 1], values[i]) for i in range(1, COMMITS) if (i, name) not in changed]
            wrong += [f"{tracked} of {name} at {i}" for i, old, new in pairs if not _same(old, new)]
            wrong += [f"{tracked} of {name} measured again"] if not _same(values[1], again[key].value) else []
    return wrong


def _same(left: float, right: float) -> bool:
    return math.isclose(left, right, rel_tol=1e-6) or (math.isnan(left) and math.isnan(right))


def prove(work: Path, small: bool) -> bool:
    """Whether everything was found, and nothing else."""
    clone = work / "clone"
    make_clone(clone)
    commits = make_history(clone, float(call(clone, "calibrate", small)))
    asv(clone, "machine", "--yes", "--machine=proof")
    measure, files = (measure_small if small else measure_in_full), []
    for number, commit in enumerate(commits):
        git(clone, "checkout", "--quiet", commit)
        files.append(measure(clone, commit, 1000 * int(git(clone, "show", "-s", "--format=%ct", commit))))
        print(f"measured commit {number}", flush=True)
    git(clone, "checkout", "--quiet", "proof")
    by_asv, (by_gate, outcomes) = published(clone), gated(clone, commits, files, small)
    # asv measures an old commit with the newest benchmarks: its labels must not move
    kept = work / "again.json"
    before = files[1].read_bytes()
    git(clone, "checkout", "--quiet", commits[1])
    git(clone, "checkout", commits[-1], "--", "benchmarks")
    shutil.copyfile(measure(clone, commits[1], 0), kept)
    files[1].write_bytes(before)
    return report(commits, by_asv, by_gate, outcomes, labels_are_right(files, asv_files.of_file(kept)))


def report(
    commits: list[str],
    by_asv: set[tuple[str, str, str]],
    by_gate: set[tuple[str, str, str]],
    outcomes: list[GateResult],
    wrong: list[str],
) -> bool:
    """Prints the findings; returns whether they are the expected ones."""
    good = not wrong
    for number, injection in EXPECTED.items():
        sought = (commits[number], injection.tracked, injection.estimator)
        print(f"\n{outcomes[number - 1].table}")
        print(f"commit {number}, {injection}: asv {sought in by_asv}, gate {sought in by_gate}")
        good &= sought in by_gate and (sought in by_asv or "time" in injection.tracked)
    guilty = {(commits[number], injection.estimator) for number, injection in EXPECTED.items()}
    for who, found in (("asv", by_asv), ("gate", by_gate)):
        false = sorted((commits.index(c), f, e) for c, f, e in found if (c, e) not in guilty)
        print(f"{who}: {len(found)} regressions, of which false: {false or 'none'}")
        good &= all("time" in tracked for _number, tracked, _estimator in false)
    print(f"labels: {wrong or 'all right'}")
    print("PROVED" if good else "NOT PROVED")
    return good


def main() -> int:
    """Runs the proof; exits with 1 if something was not found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="one forked process a commit in place of asv run")
    parser.add_argument("--work", type=Path, help="folder to keep; by default a temporary one")
    options = parser.parse_args()
    if options.work:
        options.work.mkdir(parents=True)
        return int(not prove(options.work.resolve(), options.small))
    with tempfile.TemporaryDirectory() as folder:
        return int(not prove(Path(folder).resolve(), options.small))


if __name__ == "__main__":
    sys.exit(main())
