"""Kills drivers and workers of a run at random moments, and checks that nothing is lost, doubled or changed.

    python scripts/prove_survival.py --kills 50

Each round starts a driver with two workers on one store and sends SIGKILL to the driver, or to a worker and then to
the driver. When all cells are finished, their rows must be equal to those of an undisturbed run, each cell must exist
once, and every file must be sound. Then the store is emptied, and this is repeated until all kills are used up.
"""

# ruff: noqa: INP001, S603, T201  (a script, which starts itself and prints what it saw)

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from estbench.execution.executors.inline import Inline
from estbench.execution.executors.local import Local
from estbench.execution.runner import CellWork, run
from estbench.planning import plan as planning
from estbench.planning.plan import Plan
from estbench.planning.resolved import ResolvedSuite
from estbench.planning.suite import validate
from estbench.plugins.registry import Plugins
from estbench.store import maintenance
from estbench.store.store import Store

STARTED = "started"


def suite(steps: int) -> Plan:
    """Cells of both kinds that can be continued."""
    values = {
        "tasks": ["toy[units=5]"],
        "estimators": ["rloo", "nvil"],
        "measures": [f"training[steps={steps}]", "gradient[replicates=128,after=50]"],
        "seeds": 2,
        "device": "cpu",
    }
    return planning.make(ResolvedSuite.of(validate(values, "suite"), Plugins.found()))


def drive(folder: Path, steps: int) -> None:
    """One run to its end, in processes."""
    print(STARTED, flush=True)
    plan = suite(steps)
    work = CellWork(plan.plugins, folder, checkpoint=0.05)
    for _ in run(plan, Store(folder), Local(2), work, retry_failed=True):
        pass


def rows(plan: Plan, folder: Path) -> dict[str, str]:
    """The rows of each finished cell, without seconds."""
    found = Store(folder).find(plan.entries.values())
    return {name: result.rows.drop(columns="seconds").to_csv(index=False) for name, result in found.items()}


def workers(driver: int) -> list[int]:
    """The worker processes that a driver has started."""
    try:
        children = Path(f"/proc/{driver}/task/{driver}/children").read_text(encoding="utf-8").split()
        return [int(child) for child in children if "popen_loky" in _command(int(child))]
    except OSError:
        return []


def _command(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text(encoding="utf-8")


def alive(process: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def disturb(folder: Path, steps: int, span: float, chance: random.Random) -> tuple[int, list[int]]:
    """Runs one round; returns how many processes it killed, and the workers that had to end with their driver."""
    command = [sys.executable, __file__, "--drive", str(folder), "--steps", str(steps)]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert driver.stdout is not None
    driver.stdout.readline()
    kills, orphans = 0, []
    time.sleep(chance.uniform(0, span))
    if chance.random() < 0.5 and (known := workers(driver.pid)):
        os.kill(chance.choice(known), signal.SIGKILL)
        kills += 1
        time.sleep(chance.uniform(0, span))
    if driver.poll() is None:
        orphans = workers(driver.pid)
        os.kill(driver.pid, signal.SIGKILL)
        kills += 1
    driver.wait()
    driver.stdout.close()
    return kills, orphans


def outlived(orphans: list[int], patience: float = 30.0) -> list[int]:
    """The workers that still exist some time after their driver has ended."""
    until = time.monotonic() + patience
    while time.monotonic() < until and any(map(alive, orphans)):
        time.sleep(0.1)
    return [orphan for orphan in orphans if alive(orphan)]


def prove(kills: int, steps: int, span: float, seed: int, folder: Path, say=print) -> None:  # noqa: ANN001
    """Kills and compares.

    Raises:
        AssertionError: something was lost, doubled or changed.
    """
    plan, chance = suite(steps), random.Random(seed)  # noqa: S311
    for _ in run(plan, Store(folder / "calm"), Inline(), CellWork(plan.plugins, folder / "calm")):
        pass
    expected, wild = rows(plan, folder / "calm"), folder / "wild"
    done = finished = 0
    orphans: list[int] = []
    while done < kills:
        killed, left = disturb(wild, steps, span, chance)
        done, orphans = done + killed, orphans + left
        found = Store(wild).find(plan.entries.values())
        missing = len(plan.cells) - sum(not result.failures for result in found.values())
        say(f"{done} kills, {missing} cells to go")
        if not missing and done < kills:
            check(plan, wild, expected)
            finished += 1
            shutil.rmtree(wild)
    drive(wild, steps)
    check(plan, wild, expected)
    left = outlived(orphans)
    assert not left, f"workers {left} outlived their driver"
    say(f"{done} kills over {finished + 1} runs: every cell there once, every file sound, every number the same")


def check(plan: Plan, folder: Path, expected: dict[str, str]) -> None:
    """Compares the content of a store with the expected one."""
    found = rows(plan, folder)
    assert found == expected, f"cells differ: {sorted(name for name in expected if found.get(name) != expected[name])}"
    assert len(list(Store(folder).files())) == len(plan.cells)
    damaged, _ = maintenance.verify(folder)
    assert damaged == 0


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--steps", type=int, default=6000, help="steps of each training")
    parser.add_argument("--span", type=float, default=8.0, help="seconds within which a kill comes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        drive(options.drive, options.steps)
        return
    with tempfile.TemporaryDirectory() as folder:
        prove(options.kills, options.steps, options.span, options.seed, Path(folder))


if __name__ == "__main__":
    main()
