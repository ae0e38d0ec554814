"""Requests to end a comparison: of a cluster, and of a terminal that is closed."""

import os
import signal

import pytest

from estbench.workflows.end_requests import terminable


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_is_as_ctrl_c(number):
    """It interrupts what is being measured; afterwards the handlers are those of before."""
    # under nohup the tests themselves are started with SIGHUP ignored, which would be respected
    outside = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(KeyboardInterrupt), terminable():
            os.kill(os.getpid(), number)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, outside)


def test_nohup_is_respected():
    """Where the end of the terminal is ignored, it stays ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminable():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
