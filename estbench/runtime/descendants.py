"""Descendants: the processes that a process has started, and their end together with the code that started them.

What a plugin starts must not outlive its cell, and a plugin that starts a process in each training step must not fill
the machine. On systems without ``/proc`` the number is limited, and processes that a plugin leaves behind go on.
"""

import contextlib
import ctypes
import functools
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

# processes of one cell that may exist at once, besides those that there were before
MOST = 32
# seconds until processes that cannot be ended are left alone
_PATIENCE = 5.0
# of Linux' sys/prctl.h
_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37
# the events that Python announces before it starts a process
_STARTS = frozenset({"os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen"})


def descendants(ancestor: int) -> set[int]:
    """The processes that a process, or one of these, has started and that exist, ended but unread ones among them.

    Args:
        ancestor: its number.
    """
    parents = {int(entry.name): _parent(entry) for entry in Path("/proc").glob("[0-9]*")}
    found, new = set[int](), {ancestor}
    while new:
        new = {process for process, parent in parents.items() if parent in new} - found
        found |= new
    return found


def end(processes: set[int]) -> None:
    """Ends processes at once; of those that are children of this one nothing stays."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process, os.WNOHANG)


@contextlib.contextmanager
def contained(most: int = MOST) -> Iterator[None]:
    """Limits the processes that the code inside the context starts, and ends them where the context ends.

    A process beyond the limit is refused by RuntimeError. A forked copy of this process may start none.

    Args:
        most: how many may exist at once.
    """
    limit, here = _limit(), os.getpid()
    known = descendants(here)
    outer, limit.allowed = limit.allowed, _Allowed(here, most, known)
    adopting = _adopt(True)
    try:
        yield
    finally:
        limit.allowed = outer
        if os.getpid() == here:
            _end_all(here, known)
            _adopt(adopting)


def _end_all(here: int, known: set[int]) -> None:
    """Ends what this process has started, but for what is known; what those started meanwhile has become its child."""
    until = time.monotonic() + _PATIENCE
    while (left := descendants(here) - known) and time.monotonic() < until:
        end(left)
        time.sleep(0.002)


class _Allowed:
    """What a process may start.

    Args:
        process: the process.
        most: how many others may exist at once.
        known: those that there were before, which do not count.
    """

    def __init__(self, process: int, most: int, known: set[int]) -> None:
        self.process, self.most, self.known = process, most, known
        self._started = 0

    def check(self) -> None:
        """Counts a start.

        Raises:
            RuntimeError: it would be one too many.
        """
        if os.getpid() != self.process:
            raise RuntimeError("a process that a plugin has forked may start no others")
        self._started += 1
        if self._started > self.most and len(descendants(self.process) - self.known) >= self.most:
            raise RuntimeError(f"a plugin may have {self.most} processes at once, and tried to start one more")


class _Limit:
    """Hears of every process that Python code starts, for as long as this process exists.

    Attributes:
        allowed: what may be started; None for anything.
    """

    def __init__(self) -> None:
        self.allowed: _Allowed | None = None

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:  # noqa: ARG002
        if event in _STARTS and self.allowed is not None:
            self.allowed.check()


@functools.cache
def _limit() -> _Limit:
    # Python never removes such a hook, and calls it before the process is started
    limit = _Limit()
    sys.addaudithook(limit)
    return limit


def _parent(entry: Path) -> int:
    try:
        # the name of the program, in parentheses, may contain anything
        return int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _adopt(wanted: bool) -> bool:
    """Makes this process the parent of orphans among its descendants, on Linux; returns whether it was before."""
    if not sys.platform.startswith("linux"):
        return False
    library, before = ctypes.CDLL(None), ctypes.c_int()
    library.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    library.prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)
    return bool(before.value)
