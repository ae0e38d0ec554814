"""All that has to be seen on a GPU, in one command that goes on where it was stopped.

    make gpu-report
    python scripts/gpu_report.py --hours 2 --suites jang2017 --out reports/gpu
    python scripts/gpu_report.py --minutes 9 --stages benchmarks

Tests on the device, benchmarks of ensembles, graphs and moments, and then the suites, as many cells as the time allows.
What is done is kept, tests and benchmarks in the folder, cells in the store; so it may be done in pieces. Data come
from where ESTBENCH_DATA says. The exit code is 1 where a test or a benchmark failed.
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
from typing import IO, Any

from estbench.runtime.environment import environment

MODULE = (sys.executable, "-m")
SUITES = "jang2017,reinmax2023,rodeo2022"
STAGES = "tests,benchmarks,suites"
RATES = ("flops", "bytes_per_second")
# after an interrupt a comparison still writes its report
PATIENCE = 600


class Time:
    """What time there is.

    Args:
        minutes: in all; none for no limit.
        hours: for the suites together.
    """

    def __init__(self, minutes: float | None, hours: float) -> None:
        self._start, self._total, self._hours = time.monotonic(), 60 * minutes if minutes else None, 3600 * hours

    @property
    def patience(self) -> float:
        """Seconds for a command to end in once it is interrupted."""
        return PATIENCE if self._total is None else max(1.0, self._total - self._gone)

    @property
    def left(self) -> float | None:
        """Seconds for the next command; an eighth of the time is kept for it to end in."""
        return None if self._total is None else self._total * 7 / 8 - self._gone

    def for_suites(self, since: float) -> float:
        """Seconds for the next suite, the first of which began at this time."""
        left = self._hours - (time.monotonic() - since)
        return left if self.left is None else min(left, self.left)

    @property
    def _gone(self) -> float:
        return time.monotonic() - self._start


def main() -> None:
    """Does what is left to do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--hours", type=float, default=8.0, help="for the suites together")
    parser.add_argument("--minutes", type=float, help="for all of it; by default as long as it takes")
    parser.add_argument("--stages", default=STAGES, help="which of them, in this order")
    parser.add_argument("--suites", default=SUITES)
    parser.add_argument("--tests", default="", help="options of pytest")
    parser.add_argument("--benchmark", default="", help="options of benchmarks.ensemble")
    parser.add_argument("--compare", default="", help="options of estbench compare")
    parser.add_argument("--out", type=Path, default=Path("reports/gpu"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "environment.json").write_text(json.dumps(environment(), indent=2) + "\n", encoding="utf-8")
    stages, there, good = options.stages.split(","), Time(options.minutes, options.hours), True
    if "tests" in stages and options.device.startswith("cuda"):
        good = tests(options.out, shlex.split(options.tests), there)
    if "benchmarks" in stages:
        command = [*MODULE, "benchmarks.ensemble", "--device", options.device]
        where = ["--out", str(options.out / "benchmarks.jsonl"), *shlex.split(options.benchmark)]
        good &= run([*command, *where], there.left, there) == 0
    since = time.monotonic()
    for name in filter(None, options.suites.split(",") if "suites" in stages else ()):
        where = ["--suite", name, "--device", options.device, "--out", str(options.out / name)]
        run([*MODULE, "estbench", "compare", *where, *shlex.split(options.compare)], there.for_suites(since), there)
    page = "\n".join(summary(options.out))
    (options.out / "README.md").write_text(page + "\n", encoding="utf-8")
    print(page)
    sys.exit(int(not good))


def tests(out: Path, options: Sequence[str], there: Time) -> bool:
    """Whether the tests that need the device pass; those that have passed at this commit are not done again."""
    log, commit = out / "tests.txt", environment()["commit"]
    if commit and log.exists() and log.read_text(encoding="utf-8").startswith(f"passed at {commit}\n"):
        return True
    command = [*MODULE, "pytest", "-m", "cuda", "-q", *options]
    found = out / "tests.log"
    with found.open("w", encoding="utf-8") as file:
        passed = run(command, there.left, there, file) == 0
    verdict = "passed" if passed else "FAILED"
    said = found.read_text(encoding="utf-8")
    log.write_text(f"{verdict} at {commit}\n{shlex.join(command[1:])}\n{said}", encoding="utf-8")
    found.unlink()
    print(f"tests {verdict}: {log}", flush=True)
    return passed


def run(command: Sequence[str], seconds: float | None, there: Time, output: IO[str] | None = None) -> int:
    """The exit code of a command, which is interrupted as by Ctrl-C once its time is up."""
    print(f"$ {shlex.join(command)}", flush=True)
    if seconds is not None and seconds <= 0:
        print("no time is left for it", flush=True)
        return 1
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # in the background a shell has interrupts ignored, which commands would inherit
        signal.signal(signal.SIGINT, signal.default_int_handler)
    started = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        return started.wait(seconds)
    except subprocess.TimeoutExpired:
        print("its time is up", flush=True)
        started.send_signal(signal.SIGINT)
    try:
        return started.wait(there.patience)
    except subprocess.TimeoutExpired:
        started.kill()
        return started.wait()


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
    yield "\nRates are shares of what a matrix product and a copy reach here; bytes as if no cache held any."
    yield "\n| benchmark | task | estimator | replicas | ratio | 95 % interval | seconds | operations | bytes | note |"
    yield f"|{' --- |' * 10}"
    done = out / "benchmarks.jsonl"
    rows = [json.loads(line) for line in done.read_text(encoding="utf-8").splitlines()] if done.exists() else []
    most = next((row for row in rows if row["benchmark"] == "ceilings"), {})
    for row in rows:
        if row["benchmark"] not in ("ceilings", "traffic"):
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
