"""An interrupt that comes while a worker is being started waits until it is."""

import signal
import threading
import time

import pytest

from estbench.execution.executors.local import _uninterrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_end_is_answered_after_the_start(number):
    """Whichever thread the system gives it to, what is in the context is finished, and then the handler runs."""
    steps, before = [], signal.signal(number, signal.default_int_handler)

    def starting():
        with _uninterrupted():
            # the thread that blocks no signal receives it, and Python calls its handler in the main thread
            signal.pthread_kill(threads[0].ident, number)
            for step in range(100):
                time.sleep(0.001)
                steps.append(step)

    awake, threads = threading.Event(), []
    try:
        threads.append(threading.Thread(target=awake.wait))
        threads[0].start()
        with pytest.raises(KeyboardInterrupt):
            starting()
        assert len(steps) == 100
        assert signal.getsignal(number) is signal.default_int_handler
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())
    finally:
        awake.set()
        threads[0].join()
        signal.signal(number, before)


def test_without_a_request_nothing_happens():
    """The handlers and the mask are as they were."""
    before = signal.getsignal(signal.SIGINT), signal.pthread_sigmask(signal.SIG_BLOCK, set())
    with _uninterrupted():
        pass
    assert before == (signal.getsignal(signal.SIGINT), signal.pthread_sigmask(signal.SIG_BLOCK, set()))
