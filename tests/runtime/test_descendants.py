"""Descendants: what a plugin starts ends with its cell, and is limited. No test forks more than five times."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from estbench.runtime.descendants import contained, descendants
from estbench.runtime.isolation import DiedError, isolated

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are listed in /proc")
SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]


def exists(process):
    """Whether a process goes on; one that has ended may still be listed until its parent reads that."""
    place = Path("/proc", str(process), "stat")
    return place.exists() and place.read_text().rpartition(")")[2].split()[0] != "Z"


def test_what_was_started_ends_with_the_context():
    """A process, one in a session of its own, and a copy of this one; those that there were before go on."""
    with subprocess.Popen(SLEEP) as before:
        with contained():
            own = [subprocess.Popen(SLEEP, start_new_session=new) for new in (False, True)]
            if (copy := os.fork()) == 0:
                time.sleep(60)
                os._exit(0)
            started = {copy, *(each.pid for each in own)}
            assert started <= descendants(os.getpid())
        assert not any(map(exists, started))
        assert before.poll() is None
        before.kill()
    for each in own:
        each.wait()


def test_an_orphan_ends_too():
    """A process whose parent has ended becomes ours."""
    reader, writer = os.pipe()
    with contained():
        # the shell starts another process, names it and ends
        subprocess.run(["sh", "-c", "sleep 60 & echo $!"], stdout=writer, check=True)
        orphan = int(os.read(reader, 100))
        assert exists(orphan)
    assert not exists(orphan)
    os.close(reader)
    os.close(writer)


def test_more_than_the_limit_are_refused():
    """One that has ended and was waited for makes room for another."""
    with contained(most=2):
        for _ in range(3):
            subprocess.run(["true"], check=True)
        first, second = [subprocess.Popen(SLEEP) for _ in range(2)]
        with pytest.raises(RuntimeError, match="2 processes at once"):
            os.fork()
        first.kill()
        first.wait()
        subprocess.run(["true"], check=True)
    second.wait()


def test_a_copy_starts_none():
    """So that a plugin that forks in each step has no more copies than steps."""
    with contained():
        if (copy := os.fork()) == 0:
            try:
                os.fork()
            except RuntimeError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]) == 7


def test_an_isolated_function_leaves_nothing_behind(tmp_path):
    """Whether it returns or takes too long: a process in a session of its own ends with it."""
    file = tmp_path / "started"

    def start(seconds):
        file.write_text(str(subprocess.Popen(SLEEP, start_new_session=True).pid))
        time.sleep(seconds)

    isolated(lambda: start(0))
    assert not exists(int(file.read_text()))
    with pytest.raises(DiedError, match="took longer"):
        isolated(lambda: start(60), 1.0)
    assert not exists(int(file.read_text()))
