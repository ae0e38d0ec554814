import contextlib
import faulthandler
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from estbench.errors import UserError
from estbench.runtime.isolation import DiedError, isolated
from tests.support import PATIENCE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be forked there")


class OddError(BaseException):
    """No exception of the ordinary kind."""


class MuteError(Exception):
    """An exception whose text raises."""

    def __str__(self):
        raise RuntimeError("no text")


def _raise(error):
    raise error


def _loop():
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(0.01)


def test_what_a_function_returns_comes_back_and_what_it_does_does_not():
    """The value arrives; the environment, the folder and the imports of this process are as before."""
    before = dict(os.environ), Path.cwd()

    def changes():
        os.environ["ESTBENCH_TEST"] = "1"
        os.chdir("/")
        sys.modules["estbench_test_module"] = sys
        return "x" * 3_000_000

    assert isolated(changes) == "x" * 3_000_000
    assert (dict(os.environ), Path.cwd()) == before
    assert "estbench_test_module" not in sys.modules


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        (lambda: os._exit(0), "exit code 0"),
        (lambda: os._exit(7), "exit code 7"),
        (lambda: (faulthandler.disable(), os.kill(os.getpid(), signal.SIGSEGV)), "SIGSEGV"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "SIGKILL"),
    ],
)
def test_the_end_of_the_child_is_not_ours(ends, said):
    """An exit, even with code 0, and a crash are an error that says how the child ended."""
    with pytest.raises(DiedError, match=said):
        isolated(ends)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("two\nlines"), "ValueError: two lines"),
        (OddError("odd"), "OddError: odd"),
        (SystemExit(3), "SystemExit"),
        (MuteError(), "MuteError"),
    ],
)
def test_whatever_is_raised_is_one_line(error, said):
    """An exception of any kind comes back as an error for users, in one printable line."""
    with pytest.raises(UserError, match=said) as raised:
        isolated(lambda: _raise(error))
    assert str(raised.value).isprintable()


def test_a_message_for_users_comes_back_as_it_is():
    """An error for users has the same text here as in the child."""
    with pytest.raises(UserError, match=r"^just so$"):
        isolated(lambda: _raise(UserError("just so")))


def test_what_cannot_be_pickled_is_an_error():
    """A value that no pickle holds is named, and the child ends."""
    with pytest.raises(UserError, match=r"pickle|lambda|local"):
        isolated(lambda: lambda: 1)


def test_what_never_returns_is_given_up():
    """A child that catches everything is killed when its time is up."""
    with pytest.raises(DiedError, match=r"--timeout of 0\.3 s"):
        isolated(_loop, 0.3)


def test_nothing_stays_of_a_child(tmp_path):
    """What a child has started ends with it, its pipe is closed, and what it prints is dropped."""
    note = tmp_path / "grandchild"

    def starts():
        sys.stdout.write("noise")
        child = subprocess.Popen(["sleep", "600"])
        note.write_text(str(child.pid))
        os._exit(1)

    descriptors = _descriptors()
    with pytest.raises(DiedError):
        isolated(starts)
    assert _descriptors() == descriptors
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and _runs(int(note.read_text())):
        time.sleep(0.05)
    assert not _runs(int(note.read_text()))


def test_it_may_be_called_beside_other_threads():
    """A thread that holds a lock of ours does not stop the child."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert isolated(lambda: 3, 30) == 3
    finally:
        stop.set()
        thread.join()


def _runs(process):
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _descriptors():
    """The open descriptors of this process, but for the one that lists them."""
    return {str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}
