"""All that has to be seen on a GPU, in one command that goes on where it was stopped.

    make gpu-report
    python scripts/gpu_report.py --hours 2 --suites jang2017 --out reports/gpu

Tests on the device, benchmarks of ensembles, graphs and moments, and then the suites, as many cells as the time allows.
What is done is kept: tests and benchmarks in the folder, cells in the store. Data come from where ESTBENCH_DATA says.
"""

# ruff: noqa: INP001, S603, T201  (a script, which starts commands and prints what it does)

import argparse
import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from estbench.environment import environment

SUITES = "jang2017,reinmax2023,rodeo2022"
RATES = ("flops", "bytes_per_second")
# after an interrupt a comparison still writes its report
PATIENCE = 600


def main() -> None:
    """Does what is left to do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--hours", type=float, default=8.0, help="for the suites together")
    parser.add_argument("--suites", default=SUITES)
    parser.add_argument("--benchmark", default="", help="options of benchmarks.ensemble")
    parser.add_argument("--compare", default="", help="options of estbench compare")
    parser.add_argument("--out", type=Path, default=Path("reports/gpu"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "environment.json").write_text(json.dumps(environment(), indent=2) + "\n", encoding="utf-8")
    if options.device.startswith("cuda"):
        tests(options.out)
    done = options.out / "benchmarks.jsonl"
    extra = shlex.split(options.benchmark)
    run([sys.executable, "-m", "benchmarks.ensemble", "--device", options.device, "--out", str(done), *extra])
    until = time.monotonic() + 3600 * options.hours
    for name in filter(None, options.suites.split(",")):
        where = ["--suite", name, "--device", options.device, "--out", str(options.out / name)]
        command = [sys.executable, "-m", "estbench", "compare", *where, *shlex.split(options.compare)]
        run(command, until - time.monotonic())
    page = "\n".join(summary(options.out))
    (options.out / "README.md").write_text(page + "\n", encoding="utf-8")
    print(page)


def tests(out: Path) -> None:
    """The tests that need the device, unless they have passed at this commit."""
    log, commit = out / "tests.txt", environment()["commit"]
    if log.exists() and log.read_text(encoding="utf-8").startswith(f"passed at {commit}\n"):
        return
    command = [sys.executable, "-m", "pytest", "-m", "cuda", "-q"]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    verdict = "passed" if found.returncode == 0 else "FAILED"
    log.write_text(f"{verdict} at {commit}\n{shlex.join(command[1:])}\n{found.stdout}{found.stderr}", encoding="utf-8")
    print(f"tests {verdict}: {log}", flush=True)


def run(command: Sequence[str], seconds: float | None = None) -> None:
    """A command, interrupted as by Ctrl-C once its time is up."""
    print(f"$ {shlex.join(command)}", flush=True)
    if seconds is not None and seconds <= 0:
        print("no time is left for it", flush=True)
        return
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # in the background a shell has interrupts ignored, which commands would inherit
        signal.signal(signal.SIGINT, signal.default_int_handler)
    started = subprocess.Popen(command)
    try:
        started.wait(seconds)
    except subprocess.TimeoutExpired:
        started.send_signal(signal.SIGINT)
        started.wait(PATIENCE)


def summary(out: Path) -> Iterator[str]:
    """The lines of the page: the machine, the tests, the figures, and where the reports are."""
    about = json.loads((out / "environment.json").read_text(encoding="utf-8"))
    yield "# What was seen on the device"
    machine = f"{about['gpu'] or about['cpu']}, driver {about['driver']}, torch {about['torch']}"
    yield f"\nCommit {about['commit']}, {machine}."
    yield f"Command: `{shlex.join(['python', *sys.argv])}`."
    log = out / "tests.txt"
    if log.exists():
        lines = log.read_text(encoding="utf-8").splitlines()
        yield f"\nTests: {lines[0]}; {lines[-1].strip('= ')}."
    yield "\nRates are shares of what a matrix product and a copy reach here; of bytes, those of parameters alone."
    yield "\n| benchmark | task | estimator | replicas | ratio | 95 % interval | seconds | operations | bytes | note |"
    yield f"|{' --- |' * 10}"
    rows = [json.loads(line) for line in (out / "benchmarks.jsonl").read_text(encoding="utf-8").splitlines()]
    most = next((row for row in rows if row["benchmark"] == "ceilings"), {})
    for row in rows:
        if row["benchmark"] != "ceilings":
            yield _line(row, most)
    for folder in sorted(path.parent for path in out.glob("*/index.html")):
        yield f"\nReport of {folder.name}: [{folder.name}]({folder.name}/index.html)."


def _line(row: dict[str, Any], most: dict[str, Any]) -> str:
    names = ("benchmark", "task", "estimator", "replicas")
    cells = [str(row.get(name, "")) for name in names]
    cells += [f"{row['ratio']:.2f}", f"{row['low']:.2f} to {row['high']:.2f}"] if "ratio" in row else ["", ""]
    cells.append(f"{row['seconds']:.3g}" if "seconds" in row else "")
    cells += [f"{row[rate] / most[rate]:.1%}" if rate in row and rate in most else "" for rate in RATES]
    cells.append(row.get("note", "").replace("|", "/"))
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
