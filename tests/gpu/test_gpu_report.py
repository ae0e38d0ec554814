"""The command that does on a GPU what has to be seen on one."""

import importlib.util
import json
import sys
import time

import pytest

from tests.support import ROOT

SCRIPT = ROOT / "scripts" / "gpu_report.py"


@pytest.fixture(scope="module")
def script():
    """The script."""
    spec = importlib.util.spec_from_file_location("gpu_report", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_command_is_interrupted_when_its_time_is_up(script, tmp_path):
    """It gets the signal of Ctrl-C and may still write; without time it is not started at all."""
    program = "import time, pathlib\ntry: time.sleep(60)\nexcept KeyboardInterrupt: pathlib.Path({!r}).touch()"
    started = time.monotonic()
    there = script.Time(None, 1)
    script.run([sys.executable, "-c", program.format(str(tmp_path / "interrupted"))], 3, there)
    assert script.run([sys.executable, "-c", program.format(str(tmp_path / "never"))], 0, there) == 1
    assert time.monotonic() - started < 50
    assert [path.name for path in tmp_path.iterdir()] == ["interrupted"]


def test_the_page_tells_machine_tests_and_figures(script, tmp_path):
    """Ratios with their intervals, rates as shares of what the device reaches, reasons, and the reports."""
    machine = {"commit": "c0ffee", "gpu": "a GPU", "cpu": "", "driver": "1", "torch": "2"}
    (tmp_path / "environment.json").write_text(json.dumps(machine))
    (tmp_path / "tests.txt").write_text("passed at c0ffee\n...\n== 31 passed in 9 s ==\n")
    about = {"task": "t", "estimator": "e", "seconds": 0.5, "ratio": 31.0, "low": 30.0, "high": 32.0}
    rows = [
        {"benchmark": "ceilings", "flops": 100.0, "bytes_per_second": 10.0},
        {"benchmark": "loop", "replicas": 64, **about, "flops": 25.0, "bytes_per_second": 5.0, "note": "a | b"},
        {"benchmark": "moments", "task": "t", "estimator": "e", "seconds": 4.0},
    ]
    (tmp_path / "benchmarks.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "quick").mkdir()
    (tmp_path / "quick" / "index.html").touch()
    page = "\n".join(script.summary(tmp_path))
    assert "Commit c0ffee, a GPU, driver 1, torch 2." in page
    assert "passed at c0ffee; 31 passed in 9 s." in page
    assert "| loop | t | e | 64 | 31.00 | 30.00 to 32.00 | 0.5 | 25.0% | 50.0% | a / b |" in page
    assert "| moments | t | e |  |  |  | 4 |  |  |  |" in page
    assert "[quick](quick/index.html)" in page


def test_a_piece_ends_in_time(script, monkeypatch):
    """With minutes, commands have seven eighths of them and the rest to end in; suites have their hours besides."""
    now = [0.0]
    monkeypatch.setattr(script.time, "monotonic", lambda: now[0])
    there, without = script.Time(8, 2), script.Time(None, 2)
    now[0] = 120.0
    assert (there.left, there.patience, there.for_suites(60.0)) == (300.0, 360.0, 300.0)
    assert (without.left, without.patience, without.for_suites(60.0)) == (None, script.PATIENCE, 7140.0)
    now[0] = 470.0
    assert there.left < 0 < there.patience <= 10


def test_what_does_not_heed_an_interrupt_is_killed(script):
    """Once its patience is over a command is ended."""
    program = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    started = time.monotonic()
    assert script.run([sys.executable, "-c", program], 2, script.Time(0.05, 1)) != 0
    assert time.monotonic() - started < 50
