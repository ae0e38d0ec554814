"""Requests to end: of a cluster before it kills, and of a terminal that is closed."""

import contextlib
import signal
import threading
from collections.abc import Iterator

# requests to end; not every system has all of them
_REQUESTS = [each for each in signal.Signals if each.name in ("SIGTERM", "SIGHUP")]


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Treats SIGTERM and SIGHUP (from clusters or a closed terminal) like Ctrl-C inside the context."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _REQUESTS}
    # under nohup, closing the terminal is not a request to end
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])
