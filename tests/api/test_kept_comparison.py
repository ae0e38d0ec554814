"""What a comparison costs whose cells are kept: from Python no more than by the command."""

import os
import subprocess
import sys

import pytest

WHAT = ("toy[units=2]", "rloo,disarm", "training[steps=4,samples=0]", "2")
CODE = f"import estbench; estbench.compare(*{WHAT[:3]!r}, {WHAT[3]}, store='store')"


def processor_seconds(*command, cwd):
    """The time of the processor that a command takes: it is the same on a busy machine."""
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_utime + used.ru_stime


@pytest.mark.long
def test_a_kept_comparison_takes_no_more_than_the_command(tmp_path):
    """The least of three of each, as noise only adds; the ratio was 0.93 when this was written."""
    options = zip(("--tasks", "--estimators", "--measures", "--seeds"), WHAT, strict=True)
    command = [word for pair in options for word in pair]
    command = [sys.executable, "-m", "estbench", "compare", *command, "--store", "store", "--out", "out"]
    processor_seconds(*command, cwd=tmp_path)
    by_command = min(processor_seconds(*command, cwd=tmp_path) for _ in range(3))
    from_python = min(processor_seconds(sys.executable, "-c", CODE, cwd=tmp_path) for _ in range(3))
    assert from_python < 1.05 * by_command
