"""Guards: a plugin may print, hang or exit; the cell ends, and the run goes on."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType


class OutOfTimeError(BaseException):
    """A cell has used up its time. No exception of the ordinary kind: plugins that catch those do not catch it."""


class DeviceLostError(BaseException):
    """A GPU does no longer answer this process, as after a failed assertion in a kernel; only a new process helps.

    No exception of the ordinary kind: what catches those and tries something else would try it in vain.
    """


@contextlib.contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raises in what runs too long; only in a main thread, and where the system has alarms.

    Where a process can be ended instead, that is better: see ``last_resort``.

    Raises:
        OutOfTimeError: the time is up.
    """
    usable = threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGALRM")
    if seconds is None or not usable:
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise OutOfTimeError(out_of_time(seconds))

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def last_resort(seconds: float | None, then: Callable[[], None]) -> Iterator[None]:
    """Ends the process of what runs too long, having called ``then``; for processes that others watch.

    An exception might come in the middle of an import, and leave a process in which the next cell fails.
    """
    if seconds is None:
        yield
        return

    def end() -> None:
        try:
            then()
        finally:
            os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def pass_on(error: BaseException) -> None:
    """Raises again what is not a plugin's failure: Ctrl-C, and the end of a cell's time.

    For handlers of ``BaseException``: code of others may raise what is no ``Exception``, and that is its failure.
    """
    if isinstance(error, (KeyboardInterrupt, GeneratorExit, OutOfTimeError)):
        raise error


def out_of_time(seconds: float) -> str:
    """The reason of a failure for want of time."""
    return f"it took longer than the --timeout of {seconds:g} s"


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Lets nothing be printed, by Python or below it."""
    with contextlib.ExitStack() as stack:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        stack.callback(os.close, nowhere)
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            _flush(stream)
            kept = os.dup(number)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, number)
            stack.callback(_flush, stream)
            os.dup2(nowhere, number)
        # where Python's streams lead elsewhere, as in notebooks
        for redirect in (contextlib.redirect_stdout, contextlib.redirect_stderr):
            stack.enter_context(redirect(stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))))
        yield


def _flush(stream: object) -> None:
    # a plugin may have closed or replaced it
    with contextlib.suppress(Exception):
        stream.flush()  # type: ignore[attr-defined]
