import importlib.util
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support import PATIENCE, ROOT
from tests.support.plugins_at_fault import write

SCRIPT = ROOT / "scripts" / "prove_survival.py"


@pytest.fixture(scope="module")
def survival():
    """The script that kills."""
    spec = importlib.util.spec_from_file_location("prove_survival", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kills", [1, pytest.param(5, marks=pytest.mark.long)])
def test_a_killed_run_goes_on_and_ends_the_same(kills, survival, tmp_path):
    """SIGKILL to workers and drivers at random moments: no cell is lost, doubled or changed, and no worker stays."""
    survival.prove(kills, 800, 3.0, 1, tmp_path, say=lambda _: None)


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path):
    """An interrupt keeps what is done, prints the way on without a traceback, exits with 130 and leaves no worker."""
    files = write(tmp_path, "hangs", "good")
    command = [sys.executable, "-m", "estbench", "compare", "--tasks", "toy", "--estimators", "good,hangs"]
    command += [
        "--measures",
        "training[steps=4]",
        "--executor",
        "local[workers=2]",
        "--out",
        "out",
        "--device",
        "cpu",
        "--seeds",
        "2",
    ]
    command += [argument for file in files for argument in ("-e", file)]
    heeded = signal.getsignal(signal.SIGINT)
    # tests that run in the background of a shell inherit that interrupts are ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    started = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    signal.signal(signal.SIGINT, heeded)
    until = time.monotonic() + PATIENCE / 2
    while time.monotonic() < until and len(list(tmp_path.glob(".estbench/cells/*.parquet"))) < 2:
        time.sleep(0.1)
    os.killpg(started.pid, signal.SIGINT)
    out, err = started.communicate(timeout=PATIENCE / 2)
    assert started.returncode == 130
    assert "the same command goes on from here" in out
    assert "Traceback" not in out + err
    assert len(list(tmp_path.glob(".estbench/cells/*.parquet"))) == 2
    until = time.monotonic() + PATIENCE / 2
    while time.monotonic() < until and _there(started.pid):
        time.sleep(0.1)
    assert not _there(started.pid)


def _there(group):
    """Whether a group of processes has any."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
