"""Resident memory that one gradient adds to its process, measured in a new process that does nothing else.

A process that has run before reuses memory that it freed, and would show less. Only Linux reports and resets the peak
of a process.
"""

import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from estbench.core.task import Batch
from estbench.engine.base import Bench, MakeEstimator, MeasurementError
from estbench.runtime.precision import arithmetic, inside

_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def resident_peak(make_bench: Callable[[], Bench], maker: MakeEstimator) -> int:
    """Bytes of resident memory at the peak of one gradient, above what the process had before.

    Raises:
        MeasurementError: this is not Linux, or the process failed; the message says why.
    """
    if not _RESET.exists():
        raise MeasurementError("the peak of a process's resident memory can be reset, and so measured, on Linux only")
    payload = pickle.dumps((torch.get_num_threads(), inside(), make_bench, maker))
    known = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-m", "estbench.engine.profiling.resident_memory"],
        input=payload,
        capture_output=True,
        env=known,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise MeasurementError(f"resident memory: {lines[-1] if lines else f'exit status {done.returncode}'}")
    return int(done.stdout.split()[-1])


def measured_here(bench: Bench, maker: MakeEstimator) -> int:
    """The same, measured in the current process, which should be new."""
    model, estimator = bench.model(), maker().to(bench.device)
    batch = next(bench.minibatches())
    # a run with two examples loads all code and starts all threads, and leaves hardly any memory behind
    few = tuple(x[:2] for x in batch)
    estimator.prepare(model(*few))
    _gradient(model, estimator, few)
    model.zero_grad()
    estimator.zero_grad()
    _RESET.write_text("5", encoding="ascii")
    before = _status("VmRSS")
    _gradient(model, estimator, batch)
    return max(_status("VmHWM") - before, 0)


def _gradient(model: torch.nn.Module, estimator: torch.nn.Module, batch: Batch) -> None:
    estimator(model(*batch)).backward()


def _status(name: str) -> int:
    """A number of bytes as the kernel reports it."""
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def main() -> None:
    """Entry point of the new process: prints the peak to standard output, and plugins' output to standard error."""
    threads, where, make_bench, maker = pickle.load(sys.stdin.buffer)  # noqa: S301  (from the process that started this one)
    torch.set_num_threads(threads)
    with contextlib.redirect_stdout(sys.stderr), arithmetic(*where):
        peak = measured_here(make_bench(), maker)
    print(peak)  # noqa: T201


if __name__ == "__main__":
    main()
