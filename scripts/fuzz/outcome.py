"""A command in a process of its own, with limits: what it printed, how it ended, and what is wrong with that."""

import atexit
import contextlib
import io
import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from estbench.cli.main import app, main
from estbench.cli.parsing import run
from estbench.runtime.descendants import descendants, end

# limits of a command: seconds, seconds of processor time, bytes of address space, bytes of a file, processes
SECONDS, PROCESSOR, MEMORY, FILE, PROCESSES = 120.0, 60, 12 * 2**30, 2**28, 24
# ends of commands: done, something failed, refused, something missing, interrupted
CODES = (0, 1, 2, 3, 130)


@dataclass(frozen=True)
class Outcome:
    """What came of a command.

    Args:
        code: its exit code, or the negative number of the signal that ended it; -999 where it met a limit of ours.
        out: what it printed.
        err: what it printed on stderr.
        seconds: how long it took.
        left: how many processes it left behind.
    """

    code: int
    out: str
    err: str
    seconds: float
    left: int = 0

    @property
    def wrong(self) -> list[str]:
        """What no command may do, whatever it is given."""
        found = []
        if self.code not in CODES:
            found.append(f"it ended with {self.code}")
        found += [
            f"it prints {word!r}"
            for word in ("Traceback", "Exception ignored", "Error in atexit", "babble")
            if word in self.out + self.err
        ]
        if strange := re.search(r"[^\n\r\t\x20-\x7e\x80-\uffff]|[\u202a-\u202e\x80-\x9f]", self.out + self.err):
            found.append(f"it prints {strange[0]!r}")
        if self.left:
            found.append(f"it leaves {self.left} processes behind")
        # a bar of progress is written over and over, each state after a carriage return
        lines = [line for line in self.err.splitlines() if line.strip() and "%|" not in line]
        if self.code == 2 and not (lines and all(line.startswith("estbench: ") for line in lines)):
            found.append("it is refused without one line")
        return found


def outcome(arguments: Sequence[str], folder: Path, seconds: float = SECONDS) -> Outcome:
    """Runs a command of estbench in a folder, in a fork of this process, which has imported what it needs."""
    out, err = folder.parent / f"{folder.name}.out", folder.parent / f"{folder.name}.err"
    started, before = time.monotonic(), descendants(os.getpid())
    child = os.fork()
    if child == 0:
        _run(arguments, folder, out, err)
    code = _waited(child, started + seconds)
    left, patience = descendants(os.getpid()) - before, time.monotonic() + 5
    while left and time.monotonic() < patience:
        # helpers of its workers end a moment after it; this process is the parent of orphans, and reads their end
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        time.sleep(0.05)
        left = descendants(os.getpid()) - before
    end(left)
    texts = [path.read_bytes().decode("utf-8", "replace") if path.exists() else "" for path in (out, err)]
    return Outcome(code, *texts, time.monotonic() - started, len(left))


def _run(arguments: Sequence[str], folder: Path, out: Path, err: Path) -> None:
    """In the child: runs the command, and ends; nothing of the parent's goes on here."""
    code = 70
    try:
        _settle(folder, out, err)
        sys.argv = ["estbench", *arguments]
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    except BaseException:  # noqa: BLE001  (the traceback is what we look for)
        traceback.print_exc()
    finally:
        _end(code)


def _settle(folder: Path, out: Path, err: Path) -> None:
    """A session, limits, streams and a folder of its own."""
    os.setsid()
    limits = {"CPU": PROCESSOR, "AS": MEMORY, "FSIZE": FILE, "CORE": 0}
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    for number, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, number)
        os.close(file)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(folder)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115


def _end(code: int) -> None:
    """Ends the process as the interpreter ends it: what is registered for its end is called."""
    try:
        atexit._run_exitfuncs()  # noqa: SLF001  (a fork has no other way to do what an interpreter does at its end)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _waited(child: int, until: float) -> int:
    """Its exit code; of a command that takes too long or starts too many processes, -999."""
    while time.monotonic() < until:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if len(descendants(child)) > PROCESSES:
            break
        time.sleep(0.05)
    end(descendants(child))
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -999


def warm() -> None:
    """Makes this process import what commands need, so that their forks need not."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        words = ["compare", "--tasks", "toy[units=2]", "--estimators", "rloo,arm", "--measures", "training[steps=4]"]
        words += ["--seeds", "2", "--executor", "inline", "--device", "cpu", "--out", f"{folder}/out"]
        run(app, [*words, "--store", f"{folder}/store"])
