"""Writing a comparison's results as asv's, through asv's own interface."""

import importlib
import itertools
import json
import math
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estbench.errors import UserError
from estbench.store.files import write_atomically
from estbench.store.run_folder import RunFolder, RunInfo
from estbench.tracking import tracked_values
from estbench.tracking.tracked_values import Key, TrackedValue, TrackedValues

MANIFEST = "asv-manifest.json"
# half widths of asv's 99 % and of our 95 % intervals
_WIDER = 2.57583 / 1.95996


@dataclass(frozen=True)
class Tracked:
    """What was written.

    Args:
        path: the result file.
        count: values in it.
        notes: what the user should know, a line each.
    """

    path: Path
    count: int
    notes: tuple[str, ...]


def track(
    run: Path,
    results: Path | None = None,
    *,
    machine: str | None = None,
    allow_dirty: bool = False,
    repository: Path | None = None,
) -> Tracked:
    """Writes the results of a comparison as asv results of its commit.

    Args:
        run: folder of the comparison.
        results: asv's folder of results; by default the one that asv.conf.json names.
        machine: its name in the history; by default made of processor and GPU.
        allow_dirty: also track a run of a working tree with uncommitted changes.
        repository: whose history it is; by default the current folder.

    Raises:
        UserError: asv is not installed, or the run's commit is not known.
    """
    asv = _asv()
    root = repository or Path()
    about = RunFolder(run).info()
    commit, date = _commit(about, root, allow_dirty=allow_dirty)
    found = tracked_values.of_run(run)
    if not any(tracked.status == "ok" for tracked in found.values()):
        raise UserError(f"{run} holds nothing to track")
    folder = results or results_folder(root)
    names, notes = _manifest(root, folder, found)
    computer = _machine(asv, about, machine)
    made = _results(asv, computer, about, run, commit, date)
    computer.save(str(folder))
    path = store(made, folder, found, names)
    refused = sorted({f"{k.benchmark}: {f.error}" for k, f in found.items() if "not positive" in f.error})
    return Tracked(path, len(found), (*notes, *refused, *_blind(found)))


def _blind(found: TrackedValues) -> list[str]:
    """A note if asv could not tell any two commits apart by their samples, whatever these are.

    ``asv compare`` calls samples different at p < 0.002, and uses their ranks if it takes one of more than 500 orders
    to separate them. The test has two sides: with 500 to 1,000 orders, as of six and six, its p cannot be so small.
    """
    counts = {len(tracked.samples) for tracked in found.values()}
    blind = [count for count in sorted(counts) if 500 < math.comb(2 * count, count) <= 1000]
    return [
        f"asv compare cannot tell {count} samples from {count}, however much they differ: use another number of seeds, "
        "or estbench gate"
        for count in blind
    ]


def store(made: Any, folder: Path, found: TrackedValues, names: list[list[str]]) -> Path:
    """Adds values to asv's results of a commit, and their benchmarks to the folder's list; returns the file.

    Args:
        made: an ``asv.results.Results``.
        folder: of all results.
        found: the values, by estimator and task.
        names: all estimators and all tasks, in the order of the manifest.
    """
    asv = _asv()
    benchmarks = _benchmarks(asv, folder, found, names)
    made.load_data(str(folder))
    for benchmark in benchmarks:
        _add(asv, made, benchmark, names, found)
    made.save(str(folder))
    # get_filename gives a path relative to the folder of results
    relative = asv.results.get_filename(made.params["machine"], made.commit_hash, made.env_name)
    return folder / relative


def results_folder(root: Path) -> Path:
    """The folder of results that asv.conf.json names, as asv finds it."""
    asv = _asv()
    path = root / "asv.conf.json"
    if not path.is_file():
        raise UserError(f"no asv.conf.json in {root.resolve()}; estbench track --init writes one, or give --results")
    try:
        return root / asv.config.Config.load(str(path)).results_dir
    except (OSError, ValueError, asv.util.UserError) as error:
        raise UserError(f"{path} is no configuration of asv: {error}") from error


def _asv() -> Any:
    try:
        for name in ("benchmarks", "config", "machine", "results", "runner", "util"):
            importlib.import_module(f"asv.{name}")
        return importlib.import_module("asv")
    except ImportError as error:
        raise UserError("tracking needs asv, which is not installed: pip install 'estbench[track]'") from error


def _commit(about: RunInfo, root: Path, *, allow_dirty: bool) -> tuple[str, int]:
    """The run's commit, and its date in milliseconds."""
    commit = about.commit or ""
    if not re.fullmatch(r"[0-9a-f]{40,64}", commit):
        raise UserError("the run has no commit: it was not started in a git repository")
    if about.dirty and not allow_dirty:
        raise UserError(f"the run had changes that commit {commit[:8]} lacks; commit first, or give --allow-dirty")
    command = ["git", "-C", str(root), "show", "-s", "--format=%ct", commit, "--"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (no shell)
    if done.returncode:
        raise UserError(f"{root.resolve()} has no commit {commit[:8]}, of which the run is")
    return commit, 1000 * int(done.stdout)


def _manifest(root: Path, folder: Path, found: Iterable[Key]) -> tuple[list[list[str]], tuple[str, ...]]:
    """Estimators and tasks in the order of the manifest, to which new names are appended.

    asv stores parameters by position: their order must never change.
    """
    path = root / MANIFEST if (root / MANIFEST).exists() else folder.parent / MANIFEST
    old: dict[str, list[str]] = {"estimators": [], "tasks": []}
    if path.exists():
        try:
            old |= {kind: [str(name) for name in names] for kind, names in json.loads(path.read_text("utf-8")).items()}
        except (ValueError, AttributeError, TypeError) as error:
            raise UserError(f"{path} is no manifest: {error}") from error
    pairs = sorted({key.parameters for key in found})
    seen = {"estimators": [pair[0] for pair in pairs], "tasks": [pair[1] for pair in pairs]}
    new = {kind: list(dict.fromkeys([*old[kind], *seen[kind]])) for kind in seen}
    added = [name for kind in new for name in new[kind][len(old[kind]) :]]
    if added:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (json.dumps(new, indent=2) + "\n").encode())
    return [new["estimators"], new["tasks"]], (f"{path}: appended {', '.join(added)}",) if added else ()


def _machine(asv: Any, about: RunInfo, name: str | None) -> Any:
    """The machine as asv describes it, with the GPU; its name is that of a folder."""
    cpu, gpu, system = about.cpu or "", about.gpu or "", about.platform or ""
    parts = [cpu, f"x{about.cores}", gpu.partition(",")[0]]
    made = asv.machine.Machine()
    made.machine = re.sub(r"[^A-Za-z0-9_]+", "-", name or " ".join(filter(None, parts))).strip("-")[:80] or "machine"
    made.os, made.cpu, made.num_cpu, made.ram = system.partition("-")[0], cpu, str(about.cores), ""
    made.arch = next((arch for arch in ("x86_64", "aarch64", "arm64") if arch in system), "")
    made.gpu = gpu or "none"
    return made


def _benchmarks(asv: Any, folder: Path, found: TrackedValues, names: list[list[str]]) -> list[dict[str, Any]]:
    """The run's benchmarks, entered into asv's list of them."""
    path = folder / "benchmarks.json"
    listed = asv.util.load_json(str(path), asv.benchmarks.Benchmarks.api_version) if path.exists() else {}
    some = {key.benchmark: tracked for key, tracked in found.items() if tracked.status == "ok"}
    for name, tracked in sorted(some.items()):
        listed[name] = {
            "name": name,
            "pretty_name": name,
            "version": tracked.version,
            "params": [[repr(value) for value in values] for values in names],
            "param_names": ["estimator", "task"],
            "unit": tracked.unit,
            "type": "track",
            "timeout": 0,
            "code": "",
        }
    asv.util.write_json(str(path), listed, asv.benchmarks.Benchmarks.api_version)
    return [listed[name] for name in sorted(some)]


def _results(asv: Any, computer: Any, about: RunInfo, run: Path, commit: str, date: int) -> Any:
    suite = about.suite or {}
    python = ".".join((about.python or "").split(".")[:2])
    device, dtype = (str(suite.get(key, "")) for key in ("device", "dtype"))
    if device == "auto":
        device = str(tracked_values.device(run))
    params = {**vars(computer), "python": python, "device": device, "dtype": dtype}
    name = re.sub(r"[^A-Za-z0-9_.]+", "-", f"compare-{device}-{dtype}-py{python}")
    return asv.results.Results(params, about.versions, commit, date, python, name, {})


def _add(asv: Any, made: Any, benchmark: Mapping[str, Any], names: list[list[str]], found: TrackedValues) -> None:
    """One benchmark of all estimators and tasks; what this run did not measure stays as it was."""
    grid = [found.get(Key(benchmark["name"], pair)) for pair in itertools.product(*names)]
    # asv writes what failed as null, and what does not apply as NaN
    values = [None if f and f.status == "failed" else f.value if f else math.nan for f in grid]
    samples = [list(f.samples) if f and f.status == "ok" else None for f in grid]
    number = [1 if some else None for some in samples]
    result = asv.runner.BenchmarkResult(values, samples, number, 0, "", None)
    # asv would call failed what neither this run nor the old results hold
    old = set(itertools.product(*made.get_result_params(benchmark["name"]))) if _known(made, benchmark) else set()
    pairs = enumerate(itertools.product(*benchmark["params"]))
    measured = {index for index, pair in pairs if grid[index] or pair not in old}
    made.add_result(benchmark, result, record_samples=True, selected_idx=measured)
    for tracked, stats in zip(grid, made.get_result_stats(benchmark["name"], benchmark["params"]), strict=True):
        if tracked and stats:
            _interval(tracked, stats)


def _known(made: Any, benchmark: Mapping[str, Any]) -> bool:
    return benchmark["name"] in made.get_all_result_keys()


def _interval(tracked: TrackedValue, stats: dict[str, float]) -> None:
    """A single value's own interval in place of the infinite one that asv gives it."""
    if len(tracked.samples) == 1 and math.isfinite(tracked.low) and math.isfinite(tracked.high):
        stats["ci_99_a"], stats["ci_99_b"] = (
            tracked.value + _WIDER * (end - tracked.value) for end in (tracked.low, tracked.high)
        )
        stats["repeat"] = max(tracked.n, 2)
