"""Runs everything that has to be tested on a GPU, in stages with a process and a time limit each.

    make gpu-report OUT=reports/gpu
    python scripts/gpu_report.py --stages smoke,graphs
    python scripts/gpu_report.py --stages suites --hours 8

The stages with the least known results come first: facts, graphs, the benchmarks of one model, the tests, speed, and
the other benchmarks. A stage that hangs or fails does not affect the others. All results are written as soon as they
exist, into at most eight files of one folder. A stage that is done is repeated only on request; of the benchmarks,
those that are missing are measured. Data are read from the folder that ESTBENCH_DATA names. The suites are a stage too,
which takes hours and does not run by default; it measures as many cells as the time allows and keeps them in the store.
The exit code is 1 if a stage failed.
"""

# ruff: noqa: INP001, S603, T201  (a script, which starts commands and prints what it does)

import argparse
import contextlib
import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from estbench.runtime.environment import environment

MODULE = (sys.executable, "-m")
VAE = "vae[dataset=mnist,hidden=200 200,latents=bernoulli]"
OTHERS = "vae[dataset=mnist,latents=categorical]"
SUITES = "jang2017,reinmax2023,rodeo2022"
# all tests that need a GPU, by name, since other tests need packages that its machine may not have
GRAPHS = ("tests/gpu/test_graphs_on_cuda.py",)
TESTS = ("tests/gpu/test_on_cuda.py", "tests/core/test_estimator.py")
RATES = ("flops", "bytes_per_second")
# the share of its limit that a stage has to end after it is interrupted, and the largest number of seconds
GRACE, LONGEST_GRACE = 0.1, 10.0
# after an interrupt a comparison still writes its report
SUITE_GRACE = 600.0


class Stage(NamedTuple):
    """A command with a time limit.

    Args:
        name: its name.
        seconds: its time limit, after which it is ended.
        command: the command that is started.
        log: the file of the folder to which its output is added.
    """

    name: str
    seconds: float
    command: tuple[str, ...]
    log: str


class StageResult(NamedTuple):
    """How a stage ended.

    Args:
        verdict: the outcome in a word or two.
        seconds: the time that it took.
    """

    verdict: str
    seconds: float


def main() -> None:
    """Runs the stages that are asked for."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    _write(options.out / "environment.json", json.dumps(environment(options.device), indent=2))
    known, begun = {stage.name: stage for stage in stages(options)}, time.monotonic()
    if unknown := set(options.stages) - known.keys() - {"suites"}:
        sys.exit(f"stages are {', '.join([*known, 'suites'])}; got {', '.join(sorted(unknown))}")
    found: dict[str, StageResult] = {}
    for stage in (known[name] for name in options.stages if name in known):
        (options.out / stage.log).unlink(missing_ok=True)
    for stage in (known[name] for name in options.stages if name in known):
        left = 60 * options.minutes - (time.monotonic() - begun)
        found[stage.name] = done(stage._replace(seconds=min(stage.seconds, left)), options.out)
        # also what is cut off from outside has a page
        _write(options.out / "README.md", "\n".join(summary(options.out, found)))
    if "suites" in options.stages:
        suites(options)
    page = "\n".join(summary(options.out, found))
    _write(options.out / "README.md", page)
    print(page)
    sys.exit(int(any(outcome.verdict != "done" for outcome in found.values())))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    stages_by_default = "smoke,graphs,vae,tests,speed,others"
    parser.add_argument("--stages", type=lambda text: text.split(","), default=stages_by_default)
    parser.add_argument("--minutes", type=float, default=9.5, help="for all stages together, but the suites")
    parser.add_argument("--hours", type=float, default=8.0, help="for the suites together")
    parser.add_argument("--suites", default=SUITES)
    parser.add_argument("--smoke", default="", help="options of scripts/gpu_smoke.py")
    parser.add_argument(
        "--tests", default="-n 8" if importlib.util.find_spec("xdist") else "", help="options of pytest"
    )
    parser.add_argument("--benchmark", default="", help="options of benchmarks.ensemble")
    parser.add_argument("--compare", default="", help="options of estbench compare")
    parser.add_argument("--out", type=Path, default=Path("reports/gpu"))
    return parser.parse_args()


def stages(options: argparse.Namespace) -> Iterator[Stage]:
    """The stages, those with the least known results first; their limits are 560 seconds in all."""
    on = ("--device", options.device)
    rows = ("--out", str(options.out / "benchmarks.jsonl"), *shlex.split(options.benchmark))
    benchmark = (*MODULE, "benchmarks.ensemble", *on)
    # a machine may have newer packages that warn, and not those that this project's options are of
    pytest = (*MODULE, "pytest", "-m", "cuda", "-q", "-W", "default", "-o", "addopts=--import-mode=importlib")
    smoke = (sys.executable, str(Path(__file__).with_name("gpu_smoke.py")), *on, *shlex.split(options.smoke))
    speed = ("--only", "speed", "--tasks", VAE, *rows)
    yield Stage("smoke", 40, smoke, "smoke.log")
    yield Stage("graphs", 80, (*pytest, *GRAPHS), "graphs.log")
    yield Stage("vae", 160, (*benchmark, "--tasks", VAE, "--estimators", "rloo", *rows), "benchmarks.log")
    yield Stage("tests", 150, (*pytest, *shlex.split(options.tests), *TESTS), "tests.log")
    yield Stage("speed", 20, (*benchmark, *speed), "benchmarks.log")
    yield Stage("others", 110, (*benchmark, "--tasks", f"{VAE},{OTHERS}", *rows), "benchmarks.log")


def done(stage: Stage, out: Path) -> StageResult:
    """Runs a stage and returns how it ended; its log is written while it runs, and it is ended at its limit."""
    print(f"{stage.name}, {stage.seconds:.0f} s at most: $ {shlex.join(stage.command)}", flush=True)
    if stage.seconds <= 0:
        return StageResult("not begun, no time was left", 0.0)
    started = time.monotonic()
    with (out / stage.log).open("a", encoding="utf-8") as log:
        log.write(f"$ {shlex.join(stage.command)}\n")
        log.flush()
        code = run(stage.command, stage.seconds, min(GRACE * stage.seconds, LONGEST_GRACE), log.fileno())
    verdict = {0: "done", None: f"interrupted after its {stage.seconds:.0f} s"}.get(code, f"failed with code {code}")
    print(f"{stage.name}: {verdict}, see {out / stage.log}", flush=True)
    return StageResult(verdict, time.monotonic() - started)


def run(command: Sequence[str], seconds: float, grace: float, output: int | None = None) -> int | None:
    """The exit code of a command; None if it was interrupted, as by Ctrl-C, and then killed if necessary.

    Args:
        command: it has a process group of its own, which ends with it.
        seconds: after which it is over.
        grace: how much of these it has to end in, from the interrupt on.
        output: a file for what it prints.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # in the background a shell has interrupts ignored, which commands would inherit
        signal.signal(signal.SIGINT, signal.default_int_handler)
    started = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    code = None
    try:
        code = started.wait(max(0.1, seconds - grace))
    except subprocess.TimeoutExpired:
        started.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(grace)
    finally:
        # workers of tests too
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()
    return code


def suites(options: argparse.Namespace) -> None:
    """Compares the estimators of the suites, as far as the hours allow."""
    begun = time.monotonic()
    for name in filter(None, options.suites.split(",")):
        left = 3600 * options.hours - (time.monotonic() - begun)
        where = ("--suite", name, "--device", options.device, "--out", str(options.out / name))
        if left > 0:
            command = (*MODULE, "estbench", "compare", *where, *shlex.split(options.compare))
            run(command, left + SUITE_GRACE, SUITE_GRACE)


def summary(out: Path, stages_done: dict[str, StageResult]) -> Iterator[str]:
    """The lines of the page: the machine, the stages, the facts, the figures, and where the reports are."""
    about = json.loads((out / "environment.json").read_text(encoding="utf-8"))
    yield "# What was seen on the device"
    machine = f"{about['gpu'] or about['cpu']}, driver {about['driver']}, torch {about['torch']}"
    yield f"\nCommit {about['commit']}, {machine}."
    yield f"Command: `{shlex.join(['python', *sys.argv])}`."
    yield "\n| stage | | seconds |\n| --- | --- | --- |"
    yield from (f"| {name} | {outcome.verdict} | {outcome.seconds:.0f} |" for name, outcome in stages_done.items())
    for name in ("graphs", "tests"):
        if lines := _lines(out / f"{name}.log"):
            yield f"\nOf {name}: {lines[-1].strip('= ')}."
    if facts := list(_json_lines(out / "smoke.log")):
        yield "\n| fact | |\n| --- | --- |"
        yield from (_fact(fact) for fact in facts if fact["fact"] != "versions")
    yield "\nRates are shares of what a matrix product and a copy reach here; bytes as if no cache held any."
    yield "\n| benchmark | task | estimator | replicas | ratio | 95 % interval | seconds | operations | bytes | note |"
    yield f"|{' --- |' * 10}"
    rows = list(_json_lines(out / "benchmarks.jsonl"))
    most = next((row for row in rows if row["benchmark"] == "ceilings"), {})
    for row in rows:
        if row["benchmark"] not in ("ceilings", "traffic"):
            yield _line(row, most)
    for folder in sorted(path.parent for path in out.glob("*/index.html")):
        yield f"\nReport of {folder.name}: [{folder.name}]({folder.name}/index.html)."


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects among a file's lines; the last one may have been cut off."""
    for line in _lines(path):
        if line.startswith("{"):
            with contextlib.suppress(json.JSONDecodeError):
                yield json.loads(line)


def _fact(fact: dict[str, Any]) -> str:
    told = ", ".join(
        f"{name} {value}" for name, value in fact.items() if name not in ("fact", "seconds") and value != ""
    )
    return f"| {fact['fact']} | {told.replace('|', '/')} |"


def _line(row: dict[str, Any], most: dict[str, Any]) -> str:
    names = ("benchmark", "task", "estimator", "replicas")
    cells = [str(row.get(name, "")) for name in names]
    cells += [f"{row['ratio']:.2f}", f"{row['low']:.2f} to {row['high']:.2f}"] if "ratio" in row else ["", ""]
    cells.append(f"{row['seconds']:.3g}" if "seconds" in row else "")
    cells += [f"{row[rate] / most[rate]:.1%}" if rate in row and rate in most else "" for rate in RATES]
    cells.append(row.get("note", "").replace("|", "/"))
    return f"| {' | '.join(cells)} |"


def _write(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
