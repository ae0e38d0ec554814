"""Measures the overhead of runs.

    python scripts/bench_scale.py            # all three, some minutes
    python scripts/bench_scale.py cached     # one of: cached, overhead, speedup

- cached: seconds of ``estbench compare`` on 1,000 cells that are all kept.
- overhead: milliseconds of a small cell on the local executor in addition to those of the cell itself.
- speedup: time of a suite of training cells with one worker divided by that with two.
"""

# ruff: noqa: INP001, S603, T201  (a script, which starts the command and prints what it measured)

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median

from estbench.execution.executors.local import Local
from estbench.execution.runner import CellWork, run
from estbench.planning import plan as planning
from estbench.planning.plan import Plan
from estbench.planning.resolved import ResolvedSuite
from estbench.planning.suite import validate
from estbench.plugins.registry import Plugins
from estbench.store.store import Store

TINY = "training[steps=1,evaluations=1]"


def tiny(units: int, seeds: int) -> Plan:
    """Cells that take milliseconds."""
    return _plan([f"toy[units={','.join(str(unit + 1) for unit in range(units))}]"], [TINY], seeds)


def training(steps: int, seeds: int) -> Plan:
    """Cells that take seconds."""
    return _plan(["vae"], [f"training[steps={steps},evaluations=1,samples=0]"], seeds)


def _plan(tasks: list[str], measures: list[str], seeds: int) -> Plan:
    values = {"tasks": tasks, "estimators": ["rloo", "arm"], "measures": measures, "seeds": seeds, "device": "cpu"}
    return planning.make(ResolvedSuite.of(validate(values, "suite"), Plugins.found()))


def cached(folder: Path) -> str:
    """Seconds of a comparison that has nothing to measure."""
    command = [sys.executable, "-m", "estbench", "compare", "--out", "out", "--device", "cpu", "--seeds", "100"]
    command += ["--tasks", "toy[units=1,2,3,4,5]", "--estimators", "rloo,arm", "--measures", TINY]
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return f"cached: {median(seconds[1:]):.2f} s for 1,000 cells (measuring and reporting them: {seconds[0]:.0f} s)"


def overhead(folder: Path) -> str:
    """Milliseconds of a small cell in addition to its own."""
    plan, own = tiny(5, 40), []
    # the first cells of a worker import the modules that the others need
    warm = 20
    start = 0.0
    for count, (_, result, _) in enumerate(run(plan, Store(folder), Local(1), CellWork(plan.plugins, folder)), 1):
        if count == warm:
            start = time.perf_counter()
        elif count > warm:
            own.append(result.about["seconds"])
    each = (time.perf_counter() - start) / len(own)
    return f"overhead: {1e3 * (each - mean(own)):.1f} ms for each of {len(own)} cells of {1e3 * mean(own):.1f} ms"


def speedup(folder: Path) -> str:
    """Time with one worker over time with two."""
    seconds = {}
    for workers in (1, 2):
        place = folder / str(workers)
        start = time.perf_counter()
        plan = training(1500, 8)
        for _ in run(plan, Store(place), Local(workers), CellWork(plan.plugins, place)):
            pass
        seconds[workers] = time.perf_counter() - start
    return f"speedup: {seconds[1] / seconds[2]:.2f} with two workers ({seconds[1]:.0f} s with one)"


def main() -> None:
    """The command."""
    benches = {bench.__name__: bench for bench in (cached, overhead, speedup)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", default=list(benches), choices=list(benches))
    for name in parser.parse_args().which:
        with tempfile.TemporaryDirectory() as folder:
            print(benches[name](Path(folder)), flush=True)


if __name__ == "__main__":
    main()
