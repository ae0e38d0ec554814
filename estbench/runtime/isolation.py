"""Isolation: runs a function in a forked child, so that its exit, crash or endless loop cannot affect this process."""

import contextlib
import ctypes
import os
import pickle
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable
from typing import TypeVar

from estbench.errors import UserError, reason
from estbench.runtime.descendants import contained, descendants, end
from estbench.runtime.guard import muted, out_of_time

Value = TypeVar("Value")

_HEADER = 8
# of Linux' sys/prctl.h
_PR_SET_PDEATHSIG = 1
# of a payload: what the function returned, or the error that it raised
_RETURNED, _RAISED = b"\0", b"\1"


class DiedError(Exception):
    """The child process ended without a result; the message says how."""


def isolated(function: Callable[[], Value], seconds: float | None = None) -> Value:
    """Calls a function in a forked child of this process, and returns what it returned, which must be picklable.

    It has no lasting effect: no import, no patch, no open file. Its output is discarded. If the system cannot
    fork, the function is called in this process.

    Args:
        function: what to call.
        seconds: how long it may take; None for as long as it takes.

    Raises:
        DiedError: the child exited, was killed, or took too long.
        UserError: the function raised this or another exception, which the message describes.
    """
    if sys.platform == "win32":
        return function()
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # the child must not need a lock that another thread of this process may hold
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.close(reader)
        _answer(function, writer)
    os.close(writer)
    try:
        payload = _received(reader, child, seconds)
    finally:
        os.close(reader)
        _end(child)
    value = pickle.loads(payload[1:])  # noqa: S301  (our own child wrote it)
    if payload[:1] == _RAISED:
        raise value
    return value


def _answer(function: Callable[[], object], writer: int) -> None:
    """In the child: writes the result or error of the function, and ends."""
    code = 1
    try:
        # its own process group, so that it can be ended together with all processes that it starts
        os.setsid()
        _end_with_parent()
        _one_thread()
        with muted(), contained():
            payload = _payload(function)
        content = len(payload).to_bytes(_HEADER, "big") + payload
        while content:
            content = content[os.write(writer, content) :]
        code = 0
    finally:
        os._exit(code)


def _payload(function: Callable[[], object]) -> bytes:
    try:
        return _RETURNED + pickle.dumps(function())
    except UserError as error:
        return _RAISED + pickle.dumps(error)
    except BaseException as error:  # noqa: BLE001  (a plugin may raise anything, and Ctrl-C does not reach a child)
        return _RAISED + pickle.dumps(UserError(reason(error)))


def _end_with_parent() -> None:
    """Makes Linux end this process when its parent ends; on other systems it may outlive the parent."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _one_thread() -> None:
    """Makes torch use one thread: the threads of the parent do not exist in the fork, which would wait for them."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


def _received(reader: int, child: int, seconds: float | None) -> bytes:
    """Reads what the child wrote.

    Raises:
        DiedError: it did not write all of it.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    content, size = b"", _HEADER
    while len(content) < size:
        if deadline is not None and time.monotonic() > deadline:
            raise DiedError(out_of_time(seconds or 0.0))
        ready, _, _ = select.select([reader], [], [], 0.05)
        part = os.read(reader, 2**20) if ready else b""
        content += part
        if len(content) >= _HEADER and size == _HEADER:
            size = _HEADER + int.from_bytes(content[:_HEADER], "big")
        # a process that it started may hold the other end of the pipe open
        if not part and (ready or _ended(child)):
            raise DiedError(_how(child))
    return content[_HEADER:]


def _ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _how(child: int) -> str:
    """How a child ended."""
    found = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    if found is not None and found.si_code == os.CLD_EXITED:
        return f"it ended its process, with exit code {found.si_status}"
    name = signal.Signals(found.si_status).name if found is not None else "a signal"
    return f"its process was ended by {name}"


def _end(child: int) -> None:
    """Ends a child together with the processes that it started."""
    end(descendants(child))
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)
