"""Requests to end: of a cluster before it kills, and of a terminal that is closed."""

import contextlib
import signal
import threading
from collections.abc import Iterator

# requests to end; not every system has all of them
_REQUESTS = [each for each in signal.Signals if each.name in ("SIGTERM", "SIGHUP")]


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Takes a polite request to end, of clusters before they kill or of a terminal that is closed, for Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _REQUESTS}
    # under nohup the end of the terminal is no request
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])
