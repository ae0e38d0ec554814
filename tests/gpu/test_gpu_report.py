"""The command that does on a GPU what has to be seen on one."""

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import time

import pytest

from tests.support import PATIENCE, ROOT

STUBBORN = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('begun', flush=True); {}"
HANGS = STUBBORN.format("time.sleep(3600)")
# what a machine with a GPU need not have
MISSING = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
"""
THERE = {"torch", "numpy", "scipy", "pandas", "matplotlib", "pillow", "pytest"}
NAMES = {"pytest-timeout": "pytest_timeout", "pytest-xdist": "xdist"}


def loaded(name):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script():
    """The script."""
    return loaded("gpu_report")


def options(out, **changes):
    """Those of the script."""
    given = {"device": "cpu", "out": out, "smoke": "", "tests": "", "benchmark": "", "minutes": 9.5}
    return argparse.Namespace(**{**given, **changes})


def test_a_command_is_interrupted_when_its_time_is_up(script, tmp_path):
    """It gets the signal of Ctrl-C and may still write."""
    program = "import time, pathlib\ntry: time.sleep(60)\nexcept KeyboardInterrupt: pathlib.Path({!r}).touch()"
    assert script.run([sys.executable, "-c", program.format(str(tmp_path / "interrupted"))], 8, 5) is None
    assert [path.name for path in tmp_path.iterdir()] == ["interrupted"]


def test_a_stage_that_hangs_costs_its_own_limit_only(script, tmp_path, monkeypatch, capsys):
    """Stages after it are done, it is killed within its limit with what it started, and its log and the page tell."""
    started = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', {!r}]); {}"
    commands = {"smoke": started.format(HANGS, HANGS), "tests": "print('== 3 passed in 1 s ==')", "others": "1 / 0"}
    monkeypatch.setattr(
        script,
        "stages",
        lambda _: (
            script.Stage(name, 6, (sys.executable, "-c", text), f"{name}.log") for name, text in commands.items()
        ),
    )
    monkeypatch.setattr(script, "_options", lambda: options(tmp_path, stages=list(commands)))
    begun = time.monotonic()
    with pytest.raises(SystemExit, match="1"):
        script.main()
    assert time.monotonic() - begun < PATIENCE
    assert "begun" in (tmp_path / "smoke.log").read_text()
    page = (tmp_path / "README.md").read_text()
    assert "| smoke | interrupted after its 6 s | 6 |" in page
    assert "| tests | done |" in page
    assert "| others | failed with code 1 |" in page
    assert "Of tests: 3 passed in 1 s." in page
    capsys.readouterr()


def test_no_stage_begins_once_time_is_over(script, tmp_path):
    """It is told, and nothing is started."""
    stage = script.Stage("late", -1.0, ("no such command",), "late.log")
    assert script.done(stage, tmp_path).verdict == "not begun, no time was left"
    assert not list(tmp_path.iterdir())


def test_all_fits_into_ten_minutes_and_eight_files(script, tmp_path):
    """Limits are below ten minutes together, each log is known beforehand, and what is least known comes first."""
    found = list(script.stages(options(tmp_path)))
    assert [(stage.name, stage.seconds) for stage in found] == [
        *(("smoke", 40), ("graphs", 80), ("vae", 160)),
        *(("tests", 150), ("speed", 20), ("others", 110)),
    ]
    files = {stage.log for stage in found} | {"environment.json", "README.md", "benchmarks.jsonl"}
    assert len(files) <= 8


def test_the_page_tells_machine_stages_facts_and_figures(script, tmp_path):
    """Ratios with their intervals, rates as shares of what the device reaches, reasons, and the reports."""
    machine = {"commit": "c0ffee", "gpu": "a GPU", "cpu": "", "driver": "1", "torch": "2"}
    (tmp_path / "environment.json").write_text(json.dumps(machine))
    (tmp_path / "tests.log").write_text("$ pytest\n...\n== 31 passed in 9 s ==\n")
    (tmp_path / "smoke.log").write_text('{"fact": "replicas", "seconds": 3, "milliseconds": 0.9}\n{"fact": "cut o')
    about = {"task": "t", "estimator": "e", "seconds": 0.5, "ratio": 31.0, "low": 30.0, "high": 32.0}
    rows = [
        {"benchmark": "ceilings", "flops": 100.0, "bytes_per_second": 10.0},
        {"benchmark": "loop", "replicas": 64, **about, "flops": 25.0, "bytes_per_second": 5.0, "note": "a | b"},
        {"benchmark": "moments", "task": "t", "estimator": "e", "seconds": 4.0},
    ]
    (tmp_path / "benchmarks.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "quick").mkdir()
    (tmp_path / "quick" / "index.html").touch()
    page = "\n".join(script.summary(tmp_path, {"tests": script.StageResult("done", 9.4)}))
    assert "Commit c0ffee, a GPU, driver 1, torch 2." in page
    assert "| tests | done | 9 |" in page
    assert "Of tests: 31 passed in 9 s." in page
    assert "| replicas | milliseconds 0.9 |" in page
    assert "| loop | t | e | 64 | 31.00 | 30.00 to 32.00 | 0.5 | 25.0% | 50.0% | a / b |" in page
    assert "| moments | t | e |  |  |  | 4 |  |  |  |" in page
    assert "[quick](quick/index.html)" in page


def test_facts_are_tried_one_by_one(monkeypatch, capsys):
    """With CUDA hidden each fails by itself, with its reason; what needs none is told."""
    smoke = loaded("gpu_smoke")
    monkeypatch.setattr(sys, "argv", ["gpu_smoke.py", "--task", "toy", "--replicas", "2"])
    monkeypatch.setattr(smoke, "OPTIMIZERS", ("radam",))
    with pytest.raises(SystemExit, match="0"):
        smoke.main()
    found = {each["fact"]: each for each in map(json.loads, capsys.readouterr().out.splitlines())}
    assert found.pop("versions")["torch"]
    assert len(found) == 5
    assert all(each["error"] for each in found.values())


def test_facts_that_a_cpu_has_are_right(capsys):
    """Ensemble and plain training agree to rounding, and minibatches of a seed are the same."""
    smoke = loaded("gpu_smoke")
    found = smoke.losses("cpu", "radam")
    assert found["graph to eager"] == 0
    assert found["eager to plain"] < 1e-5
    assert smoke.random_numbers("cpu")["same_minibatches"]
    assert smoke.replicas("cpu", "toy", 2)["milliseconds"] > 0


def test_tests_are_collected_with_the_packages_of_a_gpu_machine(script, tmp_path):
    """Torch, numpy, scipy, pandas, matplotlib and pytest are enough, beside pydantic, which is carried there."""
    text = (ROOT / "pyproject.toml").read_text()
    names = {re.split(r"[<>=\[]", line)[0] for line in re.findall(r'"([a-z][^" ]*>=[^"]*)"', text)}
    hidden = {NAMES.get(name, name) for name in names - THERE - {"pydantic"}} | {"asv_runner", "click", "ray"}
    assert {"pooch", "ray", "asv", "selenium", "reinmax", "typer", "rich", "pyarrow"} <= hidden
    (tmp_path / "sitecustomize.py").write_text(MISSING.format(names=hidden))
    (graphs,) = (stage for stage in script.stages(options(tmp_path)) if stage.name == "graphs")
    command = [*graphs.command[: -len(script.GRAPHS)], "--collect-only", *script.GRAPHS, *script.TESTS]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "error" not in done.stdout.splitlines()[-1]


def test_every_test_that_needs_a_gpu_is_named(script):
    """A file with the mark is among those that the command names."""
    marked = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"pytest\.mark\.cuda\b", path.read_text()) and path.name != "test_gpu_report.py"
    }
    assert marked == {*script.GRAPHS, *script.TESTS}
