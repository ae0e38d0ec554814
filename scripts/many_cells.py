"""Many tiny cells in one comparison: memory, descriptors and temporary files over time, as a CSV on stdout.

``python scripts/many_cells.py --cells 2000 --executor local[workers=2]``. Linux only: it reads /proc.
"""

# ruff: noqa: INP001  (a script)

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from estbench.runtime.descendants import descendants

COLUMNS = ("seconds", "cells", "driver_mib", "workers_mib", "driver_descriptors", "processes", "temporary", "shm")


def _status(process: int) -> tuple[float, int]:
    """Resident memory in MiB, and the number of open descriptors; zeros for a process that has ended."""
    try:
        lines = Path("/proc", str(process), "status").read_text(encoding="utf-8").splitlines()
        found = next((line.split()[1] for line in lines if line.startswith("VmRSS")), "0")
        return int(found) / 1024, sum(1 for _ in Path("/proc", str(process), "fd").iterdir())
    except OSError:
        return 0.0, 0


def _sample(driver: int, folder: Path, since: float) -> list[float]:
    """A line of the table."""
    children = descendants(driver)
    memory, descriptors = _status(driver)
    workers = sum(_status(each)[0] for each in children)
    cells = sum(1 for _ in (folder / "store" / "cells").glob("*.parquet"))
    temporary = sum(1 for _ in (folder / "temporary").rglob("*"))
    shared = sum(1 for _ in Path("/dev/shm").iterdir())  # noqa: S108  (is counted, not used)
    values = (time.monotonic() - since, cells, memory, workers, descriptors, len(children), temporary, shared)
    return [round(value, 1) for value in values]


def _main() -> int:
    parser = argparse.ArgumentParser(prog="many_cells.py", description=__doc__)
    parser.add_argument("--cells", type=int, default=2000)
    parser.add_argument("--executor", default="inline")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two lines")
    given = parser.parse_args()
    writer = csv.writer(sys.stdout)
    writer.writerow(COLUMNS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "temporary").mkdir()
        words = ["compare", "--tasks", "toy[units=2]", "--estimators", "rloo", "--measures", "training[steps=2]"]
        words += ["--seeds", str(given.cells), "--executor", given.executor, "--ensemble", "off", "--device", "cpu"]
        words += ["--store", str(folder / "store"), "--out", str(folder / "out")]
        environment = {**os.environ, "TMPDIR": str(folder / "temporary")}
        command = [sys.executable, "-m", "estbench", *words]
        since = time.monotonic()
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:  # noqa: S603
            while driver.poll() is None:
                writer.writerow(_sample(driver.pid, folder, since))
                sys.stdout.flush()
                time.sleep(given.every)
            return driver.returncode


if __name__ == "__main__":
    sys.exit(_main())
