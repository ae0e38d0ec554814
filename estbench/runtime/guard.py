"""Guards: a plugin that prints, hangs or exits ends its own cell only, and the run continues."""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Never, TypeVar

Value = TypeVar("Value")


class OutOfTimeError(BaseException):
    """A cell exceeded its time limit. Not an ``Exception``, so that plugins that catch exceptions do not catch it."""


class DeviceLostError(BaseException):
    """A GPU no longer responds to this process, for instance after a failed assertion in a kernel.

    Only a new process helps. Not an ``Exception``, since no code that catches exceptions can recover from this.
    """


@contextlib.contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raises an exception in code that runs too long; only in the main thread of a system with alarm signals.

    Ending the process is better if that is possible: see ``last_resort``.

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
    """Ends the process of code that runs too long, after calling ``then``; for processes that others supervise.

    An exception instead might interrupt an import, and leave a process in which the next cell fails.
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


@contextlib.contextmanager
def staying() -> Iterator[None]:
    """Keeps code inside the context from ending the process without a word.

    ``os._exit`` raises SystemExit in this thread; forked children and other threads end as they ask, and so does who
    kept the function for later. What is registered for the end of the process is called there in silence.
    """
    end, process, thread, inside = os._exit, os.getpid(), threading.get_ident(), [True]
    register = atexit.register

    def ended(status: int) -> Never:
        if inside and os.getpid() == process and threading.get_ident() == thread:
            raise SystemExit(status)
        end(status)

    def registered(function: Callable[..., Value], *given: Any, **named: Any) -> Callable[..., Value]:
        def quietly() -> None:
            inside.append(True)
            with muted(), contextlib.suppress(BaseException):
                function(*given, **named)
            inside.clear()

        register(quietly)
        return function

    os._exit, atexit.register = ended, registered  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit, atexit.register = end, register
        inside.clear()


def pass_on(error: BaseException) -> None:
    """Raises an error again if it is not a plugin's failure: Ctrl-C, or the end of a cell's time.

    For handlers of ``BaseException``: other exceptions that are not an ``Exception`` are the failure of a plugin.
    """
    if isinstance(error, (KeyboardInterrupt, OutOfTimeError)):
        raise error


def out_of_time(seconds: float) -> str:
    """The reason of a failure by timeout."""
    return f"it took longer than the --timeout of {seconds:g} s"


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Discards all output inside the context, also that of native code."""
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
        # for Python streams that do not use the process's file descriptors, as in notebooks
        for redirect in (contextlib.redirect_stdout, contextlib.redirect_stderr):
            stack.enter_context(redirect(stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))))
        yield


def _flush(stream: object) -> None:
    # a plugin may have closed or replaced it
    with contextlib.suppress(Exception):
        stream.flush()  # type: ignore[attr-defined]
