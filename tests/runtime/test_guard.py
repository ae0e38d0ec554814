"""Guards: code of others does not end the process, neither at once nor at its end."""

import os
import subprocess
import sys

import pytest

from estbench.runtime.guard import staying

AT_EXIT = """
import atexit, os
from estbench.runtime.guard import staying

def loud():
    print("babble", flush=True)
    raise RuntimeError("babble")

with staying():
    atexit.register(loud)
    atexit.register(os._exit, 0)
    atexit.register(print, "babble")
atexit.register(print, "ours")
raise SystemExit(3)
"""


def test_an_exit_inside_is_an_exception():
    """In this process; a forked child ends as it asks, and afterwards the function is that of Python again."""
    before = os._exit
    with staying():
        with pytest.raises(SystemExit) as raised:
            os._exit(7)
        if (child := os.fork()) == 0:
            os._exit(8)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 8
    assert raised.value.code == 7
    assert os._exit is before


def test_what_is_registered_for_the_end_is_called_in_silence():
    """It prints nothing, raises nothing, and changes no exit code; what was registered outside is called as usual."""
    done = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "ours\n", "")
