"""Timing: the seconds of the parts of a call, measured by CUDA events on a GPU."""

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from estbench.stats import Floats

StepParts: TypeAlias = Sequence[Callable[[], None]]


def seconds(parts: StepParts, calls: int, device: torch.device) -> Floats:
    """Mean seconds of each part, ``(parts,)``, over calls of all parts in order.

    On a GPU, events are recorded between the parts and read after all calls, so that nothing waits in between.
    """
    between = _events if device.type == "cuda" else _ticks
    found = between(parts, calls, device)
    return np.array(found).reshape(calls, len(parts)).mean(0)


def _ticks(parts: StepParts, calls: int, _device: torch.device) -> list[float]:
    stamps = [time.perf_counter()]
    for part in itertools.chain.from_iterable(itertools.repeat(parts, calls)):
        part()
        stamps.append(time.perf_counter())
    return [end - start for start, end in itertools.pairwise(stamps)]


def _events(parts: StepParts, calls: int, device: torch.device) -> list[float]:
    stream = torch.cuda.current_stream(device)
    torch.cuda.synchronize(device)
    stamps = [stream.record_event(torch.cuda.Event(enable_timing=True))]
    for part in itertools.chain.from_iterable(itertools.repeat(parts, calls)):
        part()
        stamps.append(stream.record_event(torch.cuda.Event(enable_timing=True)))
    torch.cuda.synchronize(device)
    return [start.elapsed_time(end) / 1e3 for start, end in itertools.pairwise(stamps)]


def clock(device: torch.device) -> float:
    """The current clock rate in Hz, of the GPU or the mean over the CPU's cores; NaN if it cannot be read."""
    if device.type == "cuda":
        try:
            return torch.cuda.clock_rate(device) * 1e6
        except Exception:  # noqa: BLE001  (the library that reads it may be absent, and has errors of its own)
            return float("nan")
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return float("nan")
    rates = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    return float(np.mean(rates)) * 1e6 if rates else float("nan")
