"""A command in a process of its own: what it printed, how it ended, and what is wrong with that."""

import contextlib
import io
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SLOW = 120.0
# ends of commands: done, something failed, refused, something missing, interrupted
CODES = (0, 1, 2, 3, 130)


@dataclass(frozen=True)
class Outcome:
    """What came of a command.

    Args:
        code: its exit code, or the negative number of the signal that ended it.
        out: what it printed.
        err: what it printed on stderr.
        seconds: how long it took.
    """

    code: int
    out: str
    err: str
    seconds: float

    @property
    def wrong(self) -> list[str]:
        """What no command may do, whatever it is given."""
        found = []
        if self.code not in CODES:
            found.append(f"it ended with {self.code}")
        for word in ("Traceback", "Exception ignored", "Error in atexit"):
            if word in self.out + self.err:
                found.append(f"it prints {word!r}")
        if strange := re.search(r"[^\n\r\t\x20-\x7e\x80-\uffff]|[\u202a-\u202e\x80-\x9f]", self.out + self.err):
            found.append(f"it prints {strange[0]!r}")
        if "noise" in self.out + self.err:
            found.append("it prints what a plugin prints")
        if self.code == 2:
            lines = self.err.splitlines()
            if not lines or not all(line.startswith("estbench: ") for line in lines if "it/s" not in line):
                found.append("it is refused without one line")
        return found


def outcome(arguments: Sequence[str], folder: Path, seconds: float = SLOW) -> Outcome:
    """Runs a command of estbench in a folder, in a fork of this process, which has imported what it needs."""
    out, err = folder.parent / f"{folder.name}.out", folder.parent / f"{folder.name}.err"
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _run(arguments, folder, out, err)
    status, late = _waited(child, started + seconds)
    os.killpg(child, signal.SIGKILL) if _there(child) else None
    texts = [path.read_bytes().decode("utf-8", "replace") for path in (out, err)]
    code = -999 if late else os.waitstatus_to_exitcode(status)
    return Outcome(code, *texts, time.monotonic() - started)


def _run(arguments: Sequence[str], folder: Path, out: Path, err: Path) -> None:
    os.setsid()
    for number, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, number)
        os.close(file)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.chdir(folder)
    sys.argv = ["estbench", *arguments]
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: PTH123, SIM115
    code = 70
    try:
        from estbench.cli.main import main  # noqa: PLC0415  (imported by the parent already)

        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    except BaseException:  # noqa: BLE001  (the traceback is what we look for)
        import traceback  # noqa: PLC0415

        traceback.print_exc()
    _end(code)


def _end(code: int) -> None:
    """Ends the process as the interpreter ends it: what is registered for its end is called."""
    import atexit  # noqa: PLC0415

    try:
        atexit._run_exitfuncs()  # noqa: SLF001  (a fork has no other way to do what an interpreter does at its end)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _waited(child: int, until: float) -> tuple[int, bool]:
    while time.monotonic() < until:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status, False
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1], True


def _there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def warm() -> None:
    """Imports in this process what commands need, so that their forks need not."""
    import torch  # noqa: PLC0415  (slow)

    from estbench.cli.main import app  # noqa: PLC0415
    from estbench.cli.parsing import run  # noqa: PLC0415

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        words = ["compare", "--tasks", "toy[units=2]", "--estimators", "rloo,arm", "--measures", "training[steps=4]"]
        words += ["--seeds", "2", "--executor", "inline", "--device", "cpu", "--out", f"{folder}/out"]
        run(app, [*words, "--store", f"{folder}/store"])
